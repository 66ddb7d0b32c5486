#include "broker/control/service.h"

#include <utility>

#include "broker/control/attach.h"
#include "broker/control/call.h"
#include "broker/control/publish.h"
#include "broker/control/watch.h"
#include "broker/rpc/status.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::v1;

template <typename Request, typename Response, typename Handler>
grpc::ServerUnaryReactor* Unary(Hub& hub, RpcStats& stats,
                                grpc::CallbackServerContext* context,
                                const char* method, const Request& request,
                                Response& response, Handler handler) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  Done<Response> done = [reactor, &response, &stats,
                         method](absl::StatusOr<Response> result) {
    const grpc::Status status = ToGrpcStatus(result.status());
    if (result.ok()) response = *std::move(result);
    stats.Add(method, status.error_code());
    reactor->Finish(status);
  };
  control::Call(hub, method, request, handler, std::move(done));
  return reactor;
}

}  // namespace

#define BROKER_UNARY(Method)                                                \
  grpc::ServerUnaryReactor* SocketBrokerService::Method(                    \
      grpc::CallbackServerContext* context,                                 \
      const v1::Method##Request* request, v1::Method##Response* response) { \
    return Unary(hub_, stats_, context, #Method, *request, *response,       \
                 control::Method);                                          \
  }
BROKER_UNARY(AddConnection)
BROKER_UNARY(AdmitConnection)
BROKER_UNARY(UpdateConnection)
BROKER_UNARY(UpdateConnectionsFiltered)
BROKER_UNARY(RemoveConnection)
BROKER_UNARY(CreateTicket)
BROKER_UNARY(CloseSocketsForSession)
BROKER_UNARY(CloseSocketsForAccount)
BROKER_UNARY(CloseSocketsForToken)
BROKER_UNARY(CloseSocketsFiltered)
BROKER_UNARY(ListRevocations)
BROKER_UNARY(LiftRevocation)
BROKER_UNARY(Send)
BROKER_UNARY(SendToConnection)
BROKER_UNARY(SendToAccount)
BROKER_UNARY(BroadcastFiltered)
BROKER_UNARY(GetConnection)
BROKER_UNARY(ListConnections)
BROKER_UNARY(CountConnections)
#undef BROKER_UNARY

grpc::ServerUnaryReactor* SocketBrokerService::GetBrokerInfo(
    grpc::CallbackServerContext* context,
    const v1::GetBrokerInfoRequest* request,
    v1::GetBrokerInfoResponse* response) {
  return Unary(hub_, stats_, context, "GetBrokerInfo", *request, *response,
               [this](Hub& hub, const v1::GetBrokerInfoRequest&,
                      Done<v1::GetBrokerInfoResponse> done) {
                 control::GetBrokerInfo(hub, facts_, std::move(done));
               });
}

grpc::ServerWriteReactor<v1::WatchConnectionsResponse>*
SocketBrokerService::WatchConnections(
    grpc::CallbackServerContext*, const v1::WatchConnectionsRequest* request) {
  return control::WatchConnections(hub_, stats_, *request);
}

grpc::ServerBidiReactor<v1::PublishRequest, v1::PublishResponse>*
SocketBrokerService::Publish(grpc::CallbackServerContext*) {
  return control::Publish(hub_, stats_);
}

grpc::ServerBidiReactor<v1::AttachRequest, v1::AttachResponse>*
SocketBrokerService::Attach(grpc::CallbackServerContext*) {
  return control::Attach(hub_, stats_);
}

}  // namespace broker
