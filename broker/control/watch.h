// WatchConnections: a feed of the hub, written to a gRPC stream one response at
// a time. Thread-safe as gRPC's reactors are: each call runs alone.

#pragma once

#include <grpcpp/support/server_callback.h>

#include "broker/hub/hub.h"
#include "broker/rpc/access.h"
#include "broker/rpc/rpc_stats.h"
#include "socketbroker/v1/socket_broker.pb.h"

namespace broker::control {

// Owns itself; gone when the stream is. A bad request ends it at once; so
// does, with the next response, that the caller may not see it any more.
grpc::ServerWriteReactor<socketbroker::v1::WatchConnectionsResponse>*
WatchConnections(Hub& hub, const Access& access, CallerPtr caller,
                 RpcStats& stats,
                 const socketbroker::v1::WatchConnectionsRequest& request);

}  // namespace broker::control
