// Uuid: a UUIDv7 (RFC 9562), the form of every id that the broker gives out.
//
// A connection's id carries the shard that owns it, so that a call that names a
// connection asks one shard. Callers treat ids as opaque.

#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace broker {

class Uuid {
 public:
  // The nil id: before every other one.
  Uuid() = default;

  // A new id: 48 bits of Unix milliseconds, then random bits, the last byte
  // being `tag`. Ids of one thread ascend in the order of their making.
  static Uuid Make(absl::Time now, uint8_t tag = 0);

  // From the 36-character text form, either case. INVALID_ARGUMENT else.
  static absl::StatusOr<Uuid> Parse(absl::string_view text);

  std::string ToString() const;
  bool IsNil() const { return *this == Uuid(); }
  uint8_t tag() const { return bytes_[15]; }

  friend bool operator==(const Uuid& a, const Uuid& b) = default;
  // clang-tidy 14 sees a 0 in it. NOLINTNEXTLINE(modernize-use-nullptr)
  friend auto operator<=>(const Uuid& a, const Uuid& b) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Uuid& id) {
    return H::combine(std::move(h), id.bytes_);
  }

 private:
  std::array<uint8_t, 16> bytes_{};
};

using ConnectionId = Uuid;

}  // namespace broker
