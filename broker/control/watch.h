// WatchConnections: a feed of the hub, written to a gRPC stream one response at
// a time. Thread-safe as gRPC's reactors are: each call runs alone.

#pragma once

#include <grpcpp/support/server_callback.h>

#include "broker/hub/hub.h"
#include "broker/rpc/rpc_stats.h"
#include "socketbroker/v1/socket_broker.pb.h"

namespace broker::control {

// Owns itself; gone when the stream is. A bad request ends it at once.
grpc::ServerWriteReactor<socketbroker::v1::WatchConnectionsResponse>*
WatchConnections(Hub& hub, RpcStats& stats,
                 const socketbroker::v1::WatchConnectionsRequest& request);

}  // namespace broker::control
