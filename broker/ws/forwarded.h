// Forwarded: where a client connects from that comes by way of proxies.
//
// Pure functions; thread-safe.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "broker/core/ip_network.h"
#include "broker/ws/net.h"

namespace broker {

bool IsTrusted(absl::string_view address,
               const std::vector<IpNetwork>& trusted_proxies);

// Each proxy adds to X-Forwarded-For whom it has its request from, so the list
// is read from its end for as long as those who wrote it are trusted: the first
// that is not is the client. What the client itself wrote before that is never
// looked at. Without the header the client is the proxy. None: an element that
// counts is no IP address, with or without a port.
std::optional<PeerAddress> FindClient(
    const PeerAddress& proxy, const std::vector<std::string>& forwarded_for,
    const std::vector<IpNetwork>& trusted_proxies);

}  // namespace broker
