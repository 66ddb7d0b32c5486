// Attach: a feed of the hub, written to a gRPC stream one message at a time,
// and what the service says. Thread-safe as gRPC's reactors are.

#pragma once

#include <grpcpp/support/server_callback.h>

#include "broker/hub/hub.h"
#include "broker/rpc/access.h"
#include "broker/rpc/rpc_stats.h"
#include "socketbroker/v1/attach.pb.h"

namespace broker::control {

// Owns itself; gone when the stream is. The caller's rights were checked, and
// are again before each message to it.
grpc::ServerBidiReactor<socketbroker::v1::AttachRequest,
                        socketbroker::v1::AttachResponse>*
Attach(Hub& hub, const Access& access, CallerPtr caller, RpcStats& stats);

}  // namespace broker::control
