// IP addresses and networks (CIDR, RFC 4632). Values; thread-safe.

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace broker {

// IPv4 addresses are kept as IPv6 ones that stand for them (RFC 4291 section
// 2.5.5.2), so that both spellings of a client are the same.
class IpAddress {
 public:
  // Without brackets, port or scope.
  static std::optional<IpAddress> Parse(absl::string_view text);

  bool is_v4() const;
  const std::array<uint8_t, 16>& bytes() const { return bytes_; }
  // In the one spelling that every address has.
  std::string ToString() const;

 private:
  std::array<uint8_t, 16> bytes_{};
};

class IpNetwork {
 public:
  // Such as 10.0.0.0/8, fd00::/8 or, for one address, 192.0.2.1. No bits may be
  // set behind the prefix.
  static std::optional<IpNetwork> Parse(absl::string_view text);

  bool Contains(const IpAddress& address) const;

 private:
  IpAddress first_;
  int prefix_ = 128;  // bits, of an IPv6 address
};

}  // namespace broker
