#include "broker/ws/forwarded.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace broker {
namespace {

bool IsIn(const IpAddress& address, const std::vector<IpNetwork>& networks) {
  return std::any_of(
      networks.begin(), networks.end(),
      [&](const IpNetwork& network) { return network.Contains(address); });
}

bool ParsePort(absl::string_view text, uint16_t& port) {
  int number = 0;
  if (text.empty() ||
      !std::all_of(text.begin(), text.end(), absl::ascii_isdigit) ||
      !absl::SimpleAtoi(text, &number) || number > 65535) {
    return false;
  }
  port = static_cast<uint16_t>(number);
  return true;
}

struct Hop {
  IpAddress address;
  uint16_t port = 0;  // unknown
};

// 192.0.2.1, 192.0.2.1:443, 2001:db8::1, [2001:db8::1] or [2001:db8::1]:443.
std::optional<Hop> ParseHop(absl::string_view text) {
  Hop hop;
  absl::string_view host = text;
  const size_t bracket = text.find(']');
  if (absl::ConsumePrefix(&host, "[")) {
    if (bracket == absl::string_view::npos) return std::nullopt;
    host = text.substr(1, bracket - 1);
    absl::string_view rest = text.substr(bracket + 1);
    if (!rest.empty() &&
        (!absl::ConsumePrefix(&rest, ":") || !ParsePort(rest, hop.port))) {
      return std::nullopt;
    }
  } else if (std::count(text.begin(), text.end(), ':') == 1) {
    const size_t colon = text.find(':');
    host = text.substr(0, colon);
    if (!ParsePort(text.substr(colon + 1), hop.port)) return std::nullopt;
  }
  const std::optional<IpAddress> address = IpAddress::Parse(host);
  if (!address) return std::nullopt;
  hop.address = *address;
  return hop;
}

}  // namespace

bool IsTrusted(absl::string_view address,
               const std::vector<IpNetwork>& trusted_proxies) {
  if (trusted_proxies.empty()) return false;
  const std::optional<IpAddress> ip = IpAddress::Parse(address);
  return ip && IsIn(*ip, trusted_proxies);
}

std::optional<PeerAddress> FindClient(
    const PeerAddress& proxy, const std::vector<std::string>& forwarded_for,
    const std::vector<IpNetwork>& trusted_proxies) {
  PeerAddress client = proxy;
  for (auto it = forwarded_for.rbegin(); it != forwarded_for.rend(); ++it) {
    const std::optional<Hop> hop = ParseHop(*it);
    if (!hop) return std::nullopt;
    client = {hop->address.ToString(), hop->port};
    if (!IsIn(hop->address, trusted_proxies)) break;
  }
  return client;
}

}  // namespace broker
