// RequestConnection and RequestFiltered: what services ask clients.

#pragma once

#include <grpcpp/support/server_callback.h>

#include "broker/hub/hub.h"
#include "broker/rpc/access.h"
#include "broker/rpc/rpc_stats.h"
#include "socketbroker/v1/conversation.pb.h"

namespace broker::control {

// One call; the request lives as long, and the response. The reactor owns
// itself. Whoever calls has been authorized.
grpc::ServerUnaryReactor* RequestConnection(
    Hub& hub, CallerPtr caller, RpcStats& stats,
    const socketbroker::v1::RequestConnectionRequest& request,
    socketbroker::v1::RequestConnectionResponse& response);

grpc::ServerWriteReactor<socketbroker::v1::RequestFilteredResponse>*
RequestFiltered(Hub& hub, const Access& access, CallerPtr caller,
                RpcStats& stats,
                const socketbroker::v1::RequestFilteredRequest& request);

}  // namespace broker::control
