#include "broker/core/ids.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "broker/core/secret.h"

namespace broker {

Uuid Uuid::Make(absl::Time now, uint8_t tag) {
  // rand_a is a counter within the millisecond (RFC 9562, method 1), per
  // thread.
  thread_local int64_t last_ms = 0;
  thread_local uint16_t counter = 0;
  int64_t ms = absl::ToUnixMillis(now);
  if (ms <= last_ms) {
    ms = last_ms;
    if (++counter > 0xfff) {
      counter = 0;
      ++ms;
    }
  } else {
    counter = 0;
  }
  last_ms = ms;

  Uuid id;
  for (int i = 0; i < 6; ++i) {
    id.bytes_[i] = static_cast<uint8_t>(ms >> (40 - 8 * i));
  }
  id.bytes_[6] = static_cast<uint8_t>(0x70 | (counter >> 8));
  id.bytes_[7] = static_cast<uint8_t>(counter);
  FillRandom(id.bytes_.data() + 8, 7);
  id.bytes_[8] = static_cast<uint8_t>(0x80 | (id.bytes_[8] & 0x3f));
  id.bytes_[15] = tag;
  return id;
}

absl::StatusOr<Uuid> Uuid::Parse(absl::string_view text) {
  static constexpr char kAllowed[] =
      "must be a UUID such as 018f3a1c-7b2e-7c11-9a52-3f1f6f0b2a00";
  if (text.size() != 36) return absl::InvalidArgumentError(kAllowed);
  std::string hex;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash != (text[i] == '-') || (!dash && !absl::ascii_isxdigit(text[i]))) {
      return absl::InvalidArgumentError(kAllowed);
    }
    if (!dash) hex += text[i];
  }
  const std::string raw = absl::HexStringToBytes(hex);
  Uuid id;
  std::copy(raw.begin(), raw.end(), id.bytes_.begin());
  return id;
}

std::string Uuid::ToString() const {
  const std::string hex = absl::BytesToHexString(absl::string_view(
      reinterpret_cast<const char*>(bytes_.data()), bytes_.size()));
  const absl::string_view h = hex;
  return absl::StrCat(h.substr(0, 8), "-", h.substr(8, 4), "-", h.substr(12, 4),
                      "-", h.substr(16, 4), "-", h.substr(20));
}

}  // namespace broker
