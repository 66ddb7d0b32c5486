#include "broker/control/service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/control/watch.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/rpc/status.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::v1;
constexpr size_t kMaxRequestIdBytes = 128;

template <typename Request>
constexpr bool kHasRequestId = requires(const Request& request) {
  request.request_id();
};

// How to answer a repeat: with the first answer, but for bindings.
template <typename Request, typename Response>
void Repeat(Hub&, const Request&, Response answer, Done<Response> done) {
  done(std::move(answer));
}
void Repeat(Hub& hub, const v1::AddConnectionRequest& request,
            v1::AddConnectionResponse answer,
            Done<v1::AddConnectionResponse> done) {
  control::RepeatAddConnection(hub, request, std::move(answer),
                               std::move(done));
}

// Runs the handler, or answers from what is remembered for the request_id.
template <typename Request, typename Response, typename Handler>
void RunOnce(Hub& hub, const char* method, const Request& request,
             Handler handler, Done<Response> done) {
  const std::string& id = request.request_id();
  if (id.size() > kMaxRequestIdBytes) {
    return done(InvalidField("request_id",
                             absl::StrCat(id.size(), " bytes, at most ",
                                          kMaxRequestIdBytes, " are allowed")));
  }
  hub.requests().Run(
      method, id, request.SerializeAsString(),
      [&hub, &request,
       handler](absl::AnyInvocable<void(RequestLog::Answer)> finish) {
        handler(hub, request,
                [finish = std::move(finish)](
                    absl::StatusOr<Response> response) mutable {
                  if (!response.ok()) return finish(response.status());
                  finish(response->SerializeAsString());
                });
      },
      [&hub, &request, done = std::move(done)](const RequestLog::Answer& answer,
                                               bool replayed) mutable {
        if (!answer.ok()) return done(answer.status());
        Response response;
        response.ParseFromString(*answer);
        if (!replayed) return done(std::move(response));
        Repeat(hub, request, std::move(response), std::move(done));
      });
}

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
  if constexpr (kHasRequestId<Request>) {
    if (!request.request_id().empty()) {
      RunOnce(hub, method, request, handler, std::move(done));
      return reactor;
    }
  }
  handler(hub, request, std::move(done));
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

}  // namespace broker
