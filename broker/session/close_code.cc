#include "broker/session/close_code.h"

namespace broker {

absl::string_view CloseReason(CloseCode code) {
  switch (code) {
    case CloseCode::kRemoved:
      return "Removed";
    case CloseCode::kGoingAway:
      return "Going away";
    case CloseCode::kProtocolError:
      return "Protocol error";
    case CloseCode::kUnsupportedData:
      return "Unsupported data";
    case CloseCode::kBadUtf8:
      return "Invalid UTF-8";
    case CloseCode::kPolicy:
      return "Policy violation";
    case CloseCode::kTooBig:
      return "Message too big";
    case CloseCode::kInternal:
      return "Internal error";
    case CloseCode::kTryAgainLater:
      return "Try again later";
    case CloseCode::kRevoked:
      return "Session revoked";
    case CloseCode::kHeartbeatTimeout:
      return "Server heartbeat timeout";
    case CloseCode::kConnectionLimit:
      return "Connection limit";
    case CloseCode::kExpired:
      return "Credential expired";
    case CloseCode::kNotAdmitted:
      return "Not admitted";
    case CloseCode::kSlowConsumer:
      return "Slow consumer";
    case CloseCode::kRateLimited:
      return "Rate limited";
  }
  return "";
}

}  // namespace broker
