#include "broker/core/identity.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <new>

#include "broker/core/identity_limits.h"

namespace broker {
namespace {

constexpr size_t kMaxTextBytes =
    2 * kMaxKeyBytes + kMaxGroups * kMaxGroupBytes +
    kMaxLabels * (kMaxLabelKeyBytes + kMaxLabelValueBytes);
static_assert(kMaxTextBytes <= UINT16_MAX);
static_assert(kMaxLabels <= UINT8_MAX && kMaxGroups <= UINT8_MAX);

}  // namespace

std::vector<absl::string_view> Identity::TextsOf(const IdentityFields& fields) {
  std::vector<absl::string_view> texts;
  texts.reserve(2 * fields.labels.size() + fields.groups.size() + 2);
  for (const auto& [key, value] : fields.labels) {
    texts.push_back(key);
    texts.push_back(value);
  }
  texts.insert(texts.end(), fields.groups.begin(), fields.groups.end());
  texts.push_back(fields.account_id);
  texts.push_back(fields.token_hash     ? *fields.token_hash
                  : fields.api_token_id ? *fields.api_token_id
                                        : absl::string_view());
  return texts;
}

IdentityPtr Identity::Make(const IdentityFields& fields) {
  size_t size = sizeof(Identity);
  for (const absl::string_view text : TextsOf(fields)) {
    size += sizeof(uint16_t) + text.size();
  }
  return IdentityPtr(::new (::operator new(size)) Identity(fields));
}

Identity::Identity(const IdentityFields& fields)
    : expires_at_(fields.expires_at.value_or(absl::InfiniteFuture())),
      credential_(fields.token_hash     ? Credential::kSession
                  : fields.api_token_id ? Credential::kToken
                                        : Credential::kDaemon),
      label_count_(static_cast<uint8_t>(fields.labels.size())),
      group_count_(static_cast<uint8_t>(fields.groups.size())) {
  auto* end = const_cast<uint16_t*>(ends());
  auto* to = const_cast<char*>(bytes());
  for (const absl::string_view text : TextsOf(fields)) {
    to = std::copy(text.begin(), text.end(), to);
    *end++ = static_cast<uint16_t>(to - bytes());
  }
  assert(static_cast<size_t>(to - bytes()) <= kMaxTextBytes);
}

size_t Identity::FindGroupFrom(absl::string_view from) const {
  size_t low = 0;
  for (size_t high = group_count_; low < high;) {
    const size_t middle = (low + high) / 2;
    if (group(middle) < from) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

IdentityFields Identity::fields() const {
  IdentityFields fields;
  fields.account_id = std::string(account_id());
  if (const auto key = token_hash()) fields.token_hash = std::string(*key);
  if (const auto key = api_token_id()) fields.api_token_id = std::string(*key);
  for (size_t i = 0; i < label_count_; ++i) {
    fields.labels.emplace_back(label_key(i), label_value(i));
  }
  for (size_t i = 0; i < group_count_; ++i)
    fields.groups.emplace_back(group(i));
  fields.expires_at = expires_at();
  return fields;
}

bool operator==(const Identity& a, const Identity& b) {
  if (a.expires_at_ != b.expires_at_ || a.credential_ != b.credential_ ||
      a.label_count_ != b.label_count_ || a.group_count_ != b.group_count_) {
    return false;
  }
  const size_t count = a.text_count();
  return std::equal(a.ends(), a.ends() + count, b.ends()) &&
         std::memcmp(a.bytes(), b.bytes(), a.ends()[count - 1]) == 0;
}

}  // namespace broker
