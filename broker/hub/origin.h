// Which Origin headers may open a WebSocket (RFC 6454, RFC 6455 section 10.2).

#pragma once

#include <optional>
#include <string>

#include "broker/hub/settings.h"

namespace broker {

// Against the endpoint's list, whole string by whole string. Without a list
// only an Origin on loopback passes, and only when the listener is on loopback
// too. An absent one, which no browser sends, passes where the endpoint allows
// it.
bool OriginAllowed(const std::optional<std::string>& origin,
                   const EndpointSettings& endpoint, bool loopback_listener);

}  // namespace broker
