// Outgoing: a message for clients, framed once, and whether it may go to an
// endpoint. Immutable; thread-safe.

#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "broker/hub/settings.h"
#include "broker/session/frame.h"

namespace broker {

struct Outgoing {
  FramePtr frame;
  // Of text: whether an endpoint with framing JSONRPC may be sent it.
  absl::Status as_json_rpc;

  // OK, or INVALID_ARGUMENT that names the field below "message".
  absl::Status CheckFits(Framing framing, uint64_t max_message_bytes) const;
};

// Of a request of the broker's: OK, or INVALID_ARGUMENT for its params.
absl::Status CheckRequestFits(const Frame& request, uint64_t max_message_bytes);

}  // namespace broker
