#include "broker/control/token.h"

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "broker/core/secret.h"
#include "broker/core/status.h"

namespace broker {
namespace {

constexpr size_t kHashBytes = 8;

// Over the position too, so that a damaged token is told from a good one.
std::string Hash(absl::string_view binding, absl::string_view position) {
  const Sha256Digest digest =
      Sha256(absl::StrCat(binding, absl::string_view("\0", 1), position));
  return std::string(reinterpret_cast<const char*>(digest.data()), kHashBytes);
}

}  // namespace

std::string MakeToken(absl::string_view binding, absl::string_view position) {
  return absl::WebSafeBase64Escape(
      absl::StrCat(Hash(binding, position), position));
}

absl::StatusOr<std::string> ReadToken(absl::string_view field,
                                      absl::string_view token,
                                      absl::string_view binding) {
  std::string raw;
  if (absl::WebSafeBase64Unescape(token, &raw) && raw.size() >= kHashBytes) {
    const std::string position = raw.substr(kHashBytes);
    if (Hash(binding, position) == raw.substr(0, kHashBytes)) return position;
  }
  return InvalidField(field,
                      "was not given for this request: repeat the request that "
                      "it came from, or leave it out");
}

std::string PackNumbers(const std::vector<uint64_t>& numbers) {
  return absl::StrJoin(numbers, ",");
}

std::vector<uint64_t> UnpackNumbers(absl::string_view packed) {
  std::vector<uint64_t> numbers;
  for (const absl::string_view part : absl::StrSplit(packed, ',')) {
    uint64_t n = 0;
    if (absl::SimpleAtoi(part, &n)) numbers.push_back(n);
  }
  return numbers;
}

}  // namespace broker
