#include "broker/control/asking.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/control/audit.h"
#include "broker/control/fields.h"
#include "broker/control/json.h"
#include "broker/core/status.h"
#include "broker/rpc/status.h"

namespace broker::control {
namespace {

namespace v1 = ::socketbroker::v1;

constexpr absl::Duration kMaxTimeout = absl::Hours(1);

template <typename Request>
absl::StatusOr<AskCommand> ReadAsk(const Request& request) {
  AskCommand command;
  BROKER_RETURN_IF_ERROR(CheckCallMethod("method", request.method()));
  command.method = request.method();
  BROKER_ASSIGN_OR_RETURN(command.params_json, ReadParams("", request));
  BROKER_ASSIGN_OR_RETURN(const auto timeout,
                          ReadDuration("timeout", request.has_timeout(),
                                       request.timeout(), kMaxTimeout));
  if (timeout) command.timeout = std::max(*timeout, absl::Milliseconds(1));
  return command;
}

// Of a result or an error.
absl::StatusOr<v1::ClientReply> ReadClientReply(AskOutcome outcome,
                                                bool want_json) {
  v1::ClientReply reply;
  if (outcome.kind == AskOutcome::Kind::kError) {
    reply.set_error_json(std::move(outcome.json));
  } else if (want_json) {
    reply.set_result_json(std::move(outcome.json));
  } else {
    BROKER_ASSIGN_OR_RETURN(*reply.mutable_result(), JsonToValue(outcome.json));
  }
  return reply;
}

absl::Status FailureOf(AskOutcome::Kind kind) {
  switch (kind) {
    case AskOutcome::Kind::kTimeout:
      return absl::DeadlineExceededError("the client did not reply in time");
    case AskOutcome::Kind::kTooManyInFlight:
      return WithReason(absl::ResourceExhaustedError(absl::StrCat(
                            "the connection has ", Conversation::kMaxQuestions,
                            " requests open already: it was not asked")),
                        "TOO_MANY_IN_FLIGHT");
    case AskOutcome::Kind::kDroppedSlow:
      return WithReason(absl::ResourceExhaustedError(
                            "the client reads too slowly: its outbox is full, "
                            "and it is being closed with 4008"),
                        "SLOW_CONSUMER");
    case AskOutcome::Kind::kCancelled:
      return absl::CancelledError("the call was cancelled");
    case AskOutcome::Kind::kGone:
    case AskOutcome::Kind::kResult:
    case AskOutcome::Kind::kError:
      break;
  }
  return WithReason(
      absl::AbortedError("the connection ended before its client replied"),
      "CONNECTION_GONE");
}

v1::RequestFilteredResponse::Failure FailureToProto(AskOutcome::Kind kind) {
  using Response = v1::RequestFilteredResponse;
  switch (kind) {
    case AskOutcome::Kind::kTimeout:
      return Response::FAILURE_TIMEOUT;
    case AskOutcome::Kind::kTooManyInFlight:
      return Response::FAILURE_TOO_MANY_IN_FLIGHT;
    case AskOutcome::Kind::kDroppedSlow:
      return Response::FAILURE_DROPPED_SLOW;
    case AskOutcome::Kind::kCancelled:
      return Response::FAILURE_CANCELLED;
    case AskOutcome::Kind::kGone:
      return Response::FAILURE_GONE;
    case AskOutcome::Kind::kResult:
    case AskOutcome::Kind::kError:
      break;
  }
  return Response::FAILURE_UNSPECIFIED;
}

// One RequestConnection. A call that its caller gives up is answered by the
// outcome that giving up has.
class ConnectionAsk final : public grpc::ServerUnaryReactor {
 public:
  ConnectionAsk(Hub& hub, CallerPtr caller, RpcStats& stats,
                const v1::RequestConnectionRequest& request,
                v1::RequestConnectionResponse& response)
      : hub_(hub),
        caller_(std::move(caller)),
        stats_(stats),
        request_(request),
        response_(response) {
    const auto id = ReadUuid("connection_id", request.connection_id());
    auto command = ReadAsk(request);
    if (!id.ok() || !command.ok()) {
      End(id.ok() ? command.status() : id.status());
      return;
    }
    // gRPC calls nothing of ours before it has been given the reactor.
    asked_ = hub_.Ask(
        *id, *std::move(command),
        [this](absl::StatusOr<AskOutcome> outcome) {
          OnOutcome(std::move(outcome));
        },
        caller_->reach);
  }

  void OnCancel() override {
    if (asked_ != nullptr) hub_.Unask(asked_);
  }

  void OnDone() override { delete this; }

 private:
  void OnOutcome(absl::StatusOr<AskOutcome> outcome) {
    if (!outcome.ok()) return End(outcome.status());
    if (outcome->kind != AskOutcome::Kind::kResult &&
        outcome->kind != AskOutcome::Kind::kError) {
      return End(FailureOf(outcome->kind));
    }
    auto reply = ReadClientReply(*std::move(outcome), request_.want_json());
    if (!reply.ok()) return End(reply.status());
    *response_.mutable_reply() = *std::move(reply);
    End(absl::OkStatus());
  }

  void End(const absl::Status& status) {
    const Rule& rule = RuleFor("RequestConnection");
    if (IsAudited(rule, status)) {
      AuditCall(*caller_, rule, request_,
                status.ok()
                    ? absl::StatusOr<v1::RequestConnectionResponse>(response_)
                    : status,
                false);
    }
    const grpc::Status out = ToGrpcStatus(status);
    stats_.Add("RequestConnection", out.error_code());
    Finish(out);
  }

  Hub& hub_;
  const CallerPtr caller_;
  RpcStats& stats_;
  const v1::RequestConnectionRequest& request_;
  v1::RequestConnectionResponse& response_;
  Hub::AskedPtr asked_;
};

absl::StatusOr<AskFilteredCommand> ReadAskFiltered(
    const Settings& settings, const Caller& caller,
    const v1::RequestFilteredRequest& request) {
  AskFilteredCommand command;
  BROKER_ASSIGN_OR_RETURN(command.ns, ReadNamespace(request, caller, settings));
  if (settings.FindNamespace(command.ns)->framing == Framing::kRaw) {
    return WithReason(absl::FailedPreconditionError(absl::StrCat(
                          "namespace ", command.ns,
                          " has framing RAW: its clients know of no requests")),
                      "FRAMING_RAW");
  }
  BROKER_ASSIGN_OR_RETURN(PredicatePtr predicate, ReadSelector(request));
  command.predicate = Predicate::Both(caller.filter(), std::move(predicate));
  BROKER_ASSIGN_OR_RETURN(command.exclude,
                          ReadExcluded(request.exclude_connection_ids()));
  BROKER_ASSIGN_OR_RETURN(command.ask, ReadAsk(request));
  // The id is of at most 21 characters.
  const FramePtr frame = Frame::Encode(
      Opcode::kText,
      MakeRequest(~uint64_t{0}, command.ask.method, command.ask.params_json));
  BROKER_RETURN_IF_ERROR(
      CheckRequestFits(*frame, settings.MaxMessageBytes(command.ns)));
  command.max_results = request.max_results();
  return command;
}

// One RequestFiltered. Once there is a feed, its reader is the one that ends
// the stream, as in watch.cc.
class FilteredAsk final
    : public grpc::ServerWriteReactor<v1::RequestFilteredResponse> {
 public:
  FilteredAsk(Hub& hub, const Access& access, CallerPtr caller, RpcStats& stats,
              const v1::RequestFilteredRequest& request)
      : access_(access),
        caller_(std::move(caller)),
        stats_(stats),
        want_json_(request.want_json()) {
    auto command = ReadAskFiltered(*hub.settings(), *caller_, request);
    if (command.ok()) {
      feed_ = hub.AskFiltered(*std::move(command));
      WriteNext();
    } else {
      End(command.status());
    }
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      WriteNext();
    } else {
      End(absl::CancelledError("the caller is gone"));
    }
  }

  void OnCancel() override {
    if (feed_ != nullptr) feed_->Fail(absl::CancelledError("cancelled"));
  }

  void OnDone() override {
    if (feed_ != nullptr) feed_->Cancel();
    delete this;
  }

 private:
  void WriteNext() {
    feed_->NotifyWhenReady([this] {
      AskFeed::Next next = feed_->TakeNext();
      if (next.end) return End(*next.end);
      const absl::Status may =
          access_.CheckUnchanged(caller_, RuleFor("RequestFiltered"));
      if (!may.ok()) return End(may);
      AskOutcome& outcome = next.outcome->outcome;
      response_.Clear();
      response_.set_connection_id(next.outcome->id.ToString());
      if (outcome.kind == AskOutcome::Kind::kResult ||
          outcome.kind == AskOutcome::Kind::kError) {
        auto reply = ReadClientReply(std::move(outcome), want_json_);
        if (!reply.ok()) return End(reply.status());
        *response_.mutable_reply() = *std::move(reply);
      } else {
        response_.set_failure(FailureToProto(outcome.kind));
      }
      StartWrite(&response_);
    });
  }

  void End(const absl::Status& status) {
    const grpc::Status out = ToGrpcStatus(status);
    stats_.Add("RequestFiltered", out.error_code());
    AuditEnd(caller_->name, RuleFor("RequestFiltered"), status);
    Finish(out);
  }

  const Access& access_;
  CallerPtr caller_;
  RpcStats& stats_;
  const bool want_json_;
  AskFeedPtr feed_;
  v1::RequestFilteredResponse response_;
};

}  // namespace

grpc::ServerUnaryReactor* RequestConnection(
    Hub& hub, CallerPtr caller, RpcStats& stats,
    const v1::RequestConnectionRequest& request,
    v1::RequestConnectionResponse& response) {
  return new ConnectionAsk(hub, std::move(caller), stats, request, response);
}

grpc::ServerWriteReactor<v1::RequestFilteredResponse>* RequestFiltered(
    Hub& hub, const Access& access, CallerPtr caller, RpcStats& stats,
    const v1::RequestFilteredRequest& request) {
  return new FilteredAsk(hub, access, std::move(caller), stats, request);
}

}  // namespace broker::control
