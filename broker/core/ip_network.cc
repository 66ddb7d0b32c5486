#include "broker/core/ip_network.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"

namespace broker {
namespace {

constexpr int kMappedBits = 96;  // before the 32 of an IPv4 address

bool Bit(const std::array<uint8_t, 16>& bytes, int i) {
  return (bytes[static_cast<size_t>(i / 8)] >> (7 - i % 8) & 1) != 0;
}

}  // namespace

std::optional<IpAddress> IpAddress::Parse(absl::string_view text) {
  const std::string address(text);
  IpAddress result;
  if (inet_pton(AF_INET, address.c_str(), &result.bytes_[12]) == 1) {
    result.bytes_[10] = result.bytes_[11] = 0xff;
    return result;
  }
  if (inet_pton(AF_INET6, address.c_str(), result.bytes_.data()) == 1) {
    return result;
  }
  return std::nullopt;
}

bool IpAddress::is_v4() const {
  return std::all_of(bytes_.begin(), bytes_.begin() + 10,
                     [](uint8_t b) { return b == 0; }) &&
         bytes_[10] == 0xff && bytes_[11] == 0xff;
}

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (is_v4()) {
    inet_ntop(AF_INET, &bytes_[12], text, sizeof text);
  } else {
    inet_ntop(AF_INET6, bytes_.data(), text, sizeof text);
  }
  return text;
}

std::optional<IpNetwork> IpNetwork::Parse(absl::string_view text) {
  const size_t slash = text.find('/');
  const std::optional<IpAddress> first =
      IpAddress::Parse(text.substr(0, slash));
  if (!first) return std::nullopt;
  IpNetwork result;
  result.first_ = *first;
  if (slash != absl::string_view::npos) {
    const absl::string_view digits = text.substr(slash + 1);
    const bool v4 = text.find(':') == absl::string_view::npos;
    int bits = 0;
    if (!std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit) ||
        !absl::SimpleAtoi(digits, &bits) || bits > (v4 ? 32 : 128)) {
      return std::nullopt;
    }
    result.prefix_ = v4 ? kMappedBits + bits : bits;
  }
  for (int i = result.prefix_; i < 128; ++i) {
    if (Bit(first->bytes(), i)) return std::nullopt;
  }
  return result;
}

bool IpNetwork::Contains(const IpAddress& address) const {
  for (int i = 0; i < prefix_; ++i) {
    if (Bit(first_.bytes(), i) != Bit(address.bytes(), i)) return false;
  }
  return true;
}

}  // namespace broker
