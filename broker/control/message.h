// A Message of the API, checked and framed. Thread-safe.

#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "broker/core/clock.h"
#include "broker/hub/outgoing.h"
#include "broker/hub/settings.h"
#include "broker/session/message_options.h"
#include "socketbroker/v1/message.pb.h"

namespace broker {

// The message of a request that was read at `now`; `tracker` is told how it
// ends, and is null when nobody waits. Not yet checked against an endpoint: see
// Outgoing::CheckFits. What only JSONRPC asks for is not looked at when the
// framing is known to be RAW.
absl::StatusOr<Outgoing> ReadMessage(
    bool present, const socketbroker::v1::Message& message, MonotonicTime now,
    OutcomeTrackerPtr tracker = nullptr,
    std::optional<Framing> framing = std::nullopt);

// The same, checked against the endpoints of a namespace, which must exist.
absl::StatusOr<Outgoing> ReadMessageFor(
    const std::string& ns, const Settings& settings, bool present,
    const socketbroker::v1::Message& message, MonotonicTime now,
    OutcomeTrackerPtr tracker = nullptr);

}  // namespace broker
