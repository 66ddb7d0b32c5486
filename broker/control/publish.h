// Publish: a stream of things to do, answered request by request in their
// order. Thread-safe as gRPC's reactors are.

#pragma once

#include <grpcpp/support/server_callback.h>

#include "broker/hub/hub.h"
#include "broker/rpc/access.h"
#include "broker/rpc/rpc_stats.h"
#include "socketbroker/v1/socket_broker.pb.h"

namespace broker::control {

// Owns itself; gone when the stream is. Who calls is asked anew with each
// request.
grpc::ServerBidiReactor<socketbroker::v1::PublishRequest,
                        socketbroker::v1::PublishResponse>*
Publish(Hub& hub, const Access& access, CallerPtr caller, RpcStats& stats);

}  // namespace broker::control
