#include "broker/control/service.h"

#include <memory>
#include <utility>

#include "broker/control/asking.h"
#include "broker/control/attach.h"
#include "broker/control/audit.h"
#include "broker/control/call.h"
#include "broker/control/publish.h"
#include "broker/control/watch.h"
#include "broker/core/mutex.h"
#include "broker/core/status_macros.h"
#include "broker/rpc/status.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::v1;

// Nobody knows the caller: counted, audited, told.
grpc::Status Refuse(const grpc::CallbackServerContext& context,
                    const Rule& rule, const absl::Status& why,
                    RpcStats& stats) {
  grpc::Status status = ToGrpcStatus(why);
  stats.Add({rule.method.data(), rule.method.size()}, status.error_code());
  control::AuditDenied(context.peer(), rule, why);
  return status;
}

// Answers once: what comes second has nobody to go to. Thread-safe.
template <typename Response>
class FirstAnswer {
 public:
  explicit FirstAnswer(Done<Response> done) : done_(std::move(done)) {}
  void Give(absl::StatusOr<Response> answer) {
    Done<Response> done;
    {
      MutexLock lock(mu_);
      done = std::exchange(done_, nullptr);
    }
    if (done) done(std::move(answer));
  }

 private:
  Mutex mu_;
  Done<Response> done_ ABSL_GUARDED_BY(mu_);
};

// The reactor of a call that waits for clients. Its caller may give up, as the
// server does when it shuts down: the wait goes on, and nobody hears of it.
template <typename Response>
class WaitingCall final : public grpc::ServerUnaryReactor {
 public:
  Done<Response> Wrap(Done<Response> done) {
    first_ = std::make_shared<FirstAnswer<Response>>(std::move(done));
    return [first = first_](absl::StatusOr<Response> answer) {
      first->Give(std::move(answer));
    };
  }
  void OnCancel() override {
    if (first_ == nullptr) return;
    first_->Give(absl::CancelledError("the caller gave up the wait"));
  }
  void OnDone() override { delete this; }

 private:
  std::shared_ptr<FirstAnswer<Response>> first_;
};

template <typename Request>
bool Waits(const Request& request) {
  if constexpr (requires { request.await_written(); }) {
    return request.await_written();
  } else {
    return false;
  }
}

template <typename Request, typename Response, typename Handler>
grpc::ServerUnaryReactor* Unary(Hub& hub, const Access& access, RpcStats& stats,
                                grpc::CallbackServerContext* context,
                                const Rule& rule, const Request& request,
                                Response& response, Handler handler) {
  auto* waiting = Waits(request) ? new WaitingCall<Response>() : nullptr;
  grpc::ServerUnaryReactor* reactor = waiting;
  if (waiting == nullptr) reactor = context->DefaultReactor();
  absl::StatusOr<CallerPtr> caller = access.Identify(*context);
  if (!caller.ok()) {
    reactor->Finish(Refuse(*context, rule, caller.status(), stats));
    return reactor;
  }
  const Caller& held = **caller;
  Done<Response> done = [reactor, context, &response, &stats, &request, &rule,
                         caller = *std::move(caller)](
                            absl::StatusOr<Response> result) {
    if (control::IsAudited(rule, result.status())) {
      control::AuditCall(*caller, rule, request, result,
                         context->IsCancelled());
    }
    const grpc::Status status = ToGrpcStatus(result.status());
    if (result.ok()) response = *std::move(result);
    stats.Add({rule.method.data(), rule.method.size()}, status.error_code());
    reactor->Finish(status);
  };
  if (waiting != nullptr) done = waiting->Wrap(std::move(done));
  control::Call(hub, held, rule, request, handler, std::move(done));
  return reactor;
}

}  // namespace

#define BROKER_UNARY(Method)                                                 \
  grpc::ServerUnaryReactor* SocketBrokerService::Method(                     \
      grpc::CallbackServerContext* context,                                  \
      const v1::Method##Request* request, v1::Method##Response* response) {  \
    return Unary(hub_, access_, stats_, context, RuleFor(#Method), *request, \
                 *response, control::Method);                                \
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
  return Unary(
      hub_, access_, stats_, context, RuleFor("GetBrokerInfo"), *request,
      *response,
      [this](Hub& hub, const Caller& caller, const v1::GetBrokerInfoRequest&,
             Done<v1::GetBrokerInfoResponse> done) {
        control::GetBrokerInfo(hub, caller, facts_, std::move(done));
      });
}

namespace {

// A call that ends as it begins.
template <typename Reactor>
class Refused final : public Reactor {
 public:
  explicit Refused(const grpc::Status& status) { this->Finish(status); }
  void OnDone() override { delete this; }
};

absl::StatusOr<CallerPtr> Authorize(const Access& access,
                                    const grpc::CallbackServerContext& context,
                                    const Rule& rule) {
  BROKER_ASSIGN_OR_RETURN(CallerPtr caller, access.Identify(context));
  BROKER_RETURN_IF_ERROR(caller->CheckRole(rule));
  return caller;
}

}  // namespace

grpc::ServerWriteReactor<v1::WatchConnectionsResponse>*
SocketBrokerService::WatchConnections(
    grpc::CallbackServerContext* context,
    const v1::WatchConnectionsRequest* request) {
  const Rule& rule = RuleFor("WatchConnections");
  auto caller = Authorize(access_, *context, rule);
  if (!caller.ok()) {
    return new Refused<grpc::ServerWriteReactor<v1::WatchConnectionsResponse>>(
        Refuse(*context, rule, caller.status(), stats_));
  }
  return control::WatchConnections(hub_, access_, *std::move(caller), stats_,
                                   *request);
}

grpc::ServerBidiReactor<v1::PublishRequest, v1::PublishResponse>*
SocketBrokerService::Publish(grpc::CallbackServerContext* context) {
  const Rule& rule = RuleFor("Publish");
  auto caller = Authorize(access_, *context, rule);
  if (!caller.ok()) {
    using Reactor =
        grpc::ServerBidiReactor<v1::PublishRequest, v1::PublishResponse>;
    return new Refused<Reactor>(
        Refuse(*context, rule, caller.status(), stats_));
  }
  return control::Publish(hub_, access_, *std::move(caller), stats_);
}

grpc::ServerUnaryReactor* SocketBrokerService::RequestConnection(
    grpc::CallbackServerContext* context,
    const v1::RequestConnectionRequest* request,
    v1::RequestConnectionResponse* response) {
  const Rule& rule = RuleFor("RequestConnection");
  auto caller = Authorize(access_, *context, rule);
  if (!caller.ok()) {
    return new Refused<grpc::ServerUnaryReactor>(
        Refuse(*context, rule, caller.status(), stats_));
  }
  return control::RequestConnection(hub_, *std::move(caller), stats_, *request,
                                    *response);
}

grpc::ServerWriteReactor<v1::RequestFilteredResponse>*
SocketBrokerService::RequestFiltered(
    grpc::CallbackServerContext* context,
    const v1::RequestFilteredRequest* request) {
  const Rule& rule = RuleFor("RequestFiltered");
  auto caller = Authorize(access_, *context, rule);
  if (!caller.ok()) {
    return new Refused<grpc::ServerWriteReactor<v1::RequestFilteredResponse>>(
        Refuse(*context, rule, caller.status(), stats_));
  }
  return control::RequestFiltered(hub_, access_, *std::move(caller), stats_,
                                  *request);
}

grpc::ServerBidiReactor<v1::AttachRequest, v1::AttachResponse>*
SocketBrokerService::Attach(grpc::CallbackServerContext* context) {
  const Rule& rule = RuleFor("Attach");
  auto caller = Authorize(access_, *context, rule);
  if (!caller.ok()) {
    using Reactor =
        grpc::ServerBidiReactor<v1::AttachRequest, v1::AttachResponse>;
    return new Refused<Reactor>(
        Refuse(*context, rule, caller.status(), stats_));
  }
  return control::Attach(hub_, access_, *std::move(caller), stats_);
}

}  // namespace broker
