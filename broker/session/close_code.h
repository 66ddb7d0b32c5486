// The close codes that the broker sends (RFC 6455 section 7.4). Frozen: see
// broker/docs/close-codes.md for what a client should do at each.

#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace broker {

enum class CloseCode : uint16_t {
  kRemoved = 1000,
  kGoingAway = 1001,
  kProtocolError = 1002,
  kUnsupportedData = 1003,
  kBadUtf8 = 1007,
  kPolicy = 1008,
  kTooBig = 1009,
  kInternal = 1011,
  kTryAgainLater = 1013,
  kRevoked = 4001,
  kHeartbeatTimeout = 4003,
  kConnectionLimit = 4004,
  kExpired = 4005,
  kNotAdmitted = 4006,
  kSlowConsumer = 4008,
  kRateLimited = 4029,
};

// No close frame came: RFC 6455 reserves it for this, it is never on the wire.
inline constexpr uint16_t kAbnormalClosure = 1006;

// The reason text on the wire, such as "Session revoked".
absl::string_view CloseReason(CloseCode code);

}  // namespace broker
