// A handshake as a message, for those who judge it. Thread-safe: a pure
// function.

#pragma once

#include <cstdint>

#include "broker/hub/handshake.h"
#include "socketbroker/v1/handshake.pb.h"

namespace broker {

// Of a handshake that arrived at `epoch`. It carries the client's secrets, and
// no ticket.
socketbroker::v1::Handshake ToProto(const HandshakeFacts& facts,
                                    const EndpointSettings& endpoint,
                                    uint64_t epoch);

}  // namespace broker
