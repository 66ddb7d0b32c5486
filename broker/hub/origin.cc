#include "broker/hub/origin.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace broker {
namespace {

bool IsPort(absl::string_view text) {
  int port = 0;
  return absl::SimpleAtoi(text, &port) && port > 0 && port < 65536 &&
         std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

// 127.0.0.0/8, written out in full.
bool IsLoopbackIpv4(absl::string_view host) {
  const std::vector<absl::string_view> parts = absl::StrSplit(host, '.');
  if (parts.size() != 4 || parts[0] != "127") return false;
  return std::all_of(parts.begin(), parts.end(), [](absl::string_view part) {
    int n = 0;
    return !part.empty() && part.size() <= 3 && absl::SimpleAtoi(part, &n) &&
           n < 256 &&
           std::all_of(part.begin(), part.end(), absl::ascii_isdigit);
  });
}

bool IsLoopback(absl::string_view origin) {
  if (!absl::ConsumePrefix(&origin, "http://") &&
      !absl::ConsumePrefix(&origin, "https://")) {
    return false;
  }
  absl::string_view host = origin;
  const size_t colon = origin.rfind(':');
  const size_t bracket = origin.rfind(']');
  if (colon != absl::string_view::npos &&
      (bracket == absl::string_view::npos || colon > bracket)) {
    if (!IsPort(origin.substr(colon + 1))) return false;
    host = origin.substr(0, colon);
  }
  return host == "localhost" || host == "[::1]" || IsLoopbackIpv4(host);
}

}  // namespace

bool OriginAllowed(const std::optional<std::string>& origin,
                   const EndpointSettings& endpoint, bool loopback_listener) {
  if (!origin) return endpoint.allow_missing_origin;
  const auto& allowed = endpoint.allowed_origins;
  if (allowed.empty()) return loopback_listener && IsLoopback(*origin);
  return std::any_of(allowed.begin(), allowed.end(),
                     [&](const auto& a) { return a == "*" || a == *origin; });
}

}  // namespace broker
