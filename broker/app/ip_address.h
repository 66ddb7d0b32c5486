// What the broker asks of an IP address. Pure functions, for any thread.

#pragma once

#include "absl/strings/string_view.h"

namespace broker {

// An IPv4 or IPv6 address, without brackets, port or scope.
bool IsIpAddress(absl::string_view text);

// Whether only this machine reaches it. False for what is no IP address.
bool IsLoopback(absl::string_view address);

}  // namespace broker
