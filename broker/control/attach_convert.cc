#include "broker/control/attach_convert.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "broker/control/convert.h"
#include "broker/control/fields.h"
#include "broker/control/json.h"
#include "broker/core/quoted.h"
#include "broker/core/status.h"
#include "broker/rpc/handshake.h"
#include "broker/session/envelope.h"

namespace broker::control {
namespace {

namespace v1 = ::socketbroker::v1;

constexpr int kMaxMethods = 1'000;

absl::Status CheckMethod(const std::string& field, const std::string& method) {
  if (method.empty()) return InvalidField(field, "is empty");
  if (method.size() > kMaxMethodBytes) {
    return InvalidField(field, absl::StrCat(method.size(), " bytes, at most ",
                                            kMaxMethodBytes, " are allowed"));
  }
  const size_t star = method.find('*');
  if (star != std::string::npos && star != method.size() - 1) {
    return InvalidField(
        field,
        absl::StrCat(Quoted(method), ": a `*` may only be the last character"));
  }
  return absl::OkStatus();
}

absl::StatusOr<MessageSpec> ReadMessages(const v1::AttachMessages& in,
                                         Framing framing,
                                         const Caller& caller) {
  using Sticky = MessageSpec::Sticky;
  MessageSpec spec;
  spec.idempotent = in.idempotent();
  switch (in.sticky()) {
    case v1::AttachMessages::STICKY_UNSPECIFIED:
      break;
    case v1::AttachMessages::STICKY_CONNECTION:
      spec.sticky = Sticky::kConnection;
      break;
    case v1::AttachMessages::STICKY_ACCOUNT:
      spec.sticky = Sticky::kAccount;
      break;
    default:
      return InvalidField("messages.sticky",
                          absl::StrCat(in.sticky(),
                                       " is unknown: leave it out, or "
                                       "STICKY_CONNECTION or STICKY_ACCOUNT"));
  }
  if (framing == Framing::kRaw) {
    if (in.methods_size() > 0) {
      return InvalidField("messages.methods",
                          "is not for a namespace with framing RAW, whose "
                          "messages have none: leave it out");
    }
    if (spec.sticky == Sticky::kAccount) {
      return InvalidField("messages.sticky",
                          "STICKY_ACCOUNT is not for a namespace with framing "
                          "RAW, where a connection stays with its service");
    }
    spec.sticky = Sticky::kConnection;
    spec.methods = {"*"};
  } else if (in.methods_size() == 0) {
    return InvalidField("messages.methods",
                        "is missing: name methods, such as \"orders.create\", "
                        "\"orders.*\" or \"*\"");
  }
  if (in.methods_size() > kMaxMethods) {
    return InvalidField("messages.methods",
                        absl::StrCat(in.methods_size(), " patterns, at most ",
                                     kMaxMethods, " are allowed"));
  }
  for (int i = 0; i < in.methods_size(); ++i) {
    BROKER_RETURN_IF_ERROR(
        CheckMethod(absl::StrCat("messages.methods[", i, "]"), in.methods(i)));
    spec.methods.push_back(in.methods(i));
  }
  PredicatePtr from;
  switch (in.selector_case()) {
    case v1::AttachMessages::kFilterExpr: {
      BROKER_ASSIGN_OR_RETURN(
          from, CompileFilter(in.filter_expr(), "messages.filter_expr"));
      break;
    }
    case v1::AttachMessages::kFilter: {
      const auto tree = ParseFilter(in.filter());
      if (!tree.ok()) return BelowField("messages", tree.status());
      BROKER_ASSIGN_OR_RETURN(from, CompileFilter(*tree, "messages.filter"));
      break;
    }
    case v1::AttachMessages::SELECTOR_NOT_SET:
      break;
  }
  if (caller.filter() != nullptr || from != nullptr) {
    spec.from = Predicate::Both(caller.filter(), std::move(from));
  }
  return spec;
}

v1::ConnectionClosed::Cause ToProto(Ending::Cause cause) {
  using Cause = Ending::Cause;
  switch (cause) {
    case Cause::kRevoked:
      return v1::ConnectionClosed::CAUSE_REVOKED;
    case Cause::kRemoved:
      return v1::ConnectionClosed::CAUSE_REMOVED;
    case Cause::kClient:
      return v1::ConnectionClosed::CAUSE_CLIENT;
    case Cause::kLost:
      return v1::ConnectionClosed::CAUSE_LOST;
    case Cause::kHeartbeat:
      return v1::ConnectionClosed::CAUSE_HEARTBEAT;
    case Cause::kSlow:
      return v1::ConnectionClosed::CAUSE_SLOW;
    case Cause::kExpired:
      return v1::ConnectionClosed::CAUSE_EXPIRED;
    case Cause::kNotAdmitted:
      return v1::ConnectionClosed::CAUSE_NOT_ADMITTED;
    case Cause::kLimit:
      return v1::ConnectionClosed::CAUSE_LIMIT;
    case Cause::kPolicy:
      return v1::ConnectionClosed::CAUSE_POLICY;
    case Cause::kDrain:
      return v1::ConnectionClosed::CAUSE_DRAIN;
    case Cause::kInternal:
      return v1::ConnectionClosed::CAUSE_INTERNAL;
  }
  return v1::ConnectionClosed::CAUSE_UNSPECIFIED;
}

v1::HandshakeOffer ToProto(uint64_t offer_id, const WaitingHandshake& waiting) {
  v1::HandshakeOffer out;
  out.set_offer_id(offer_id);
  out.set_connection_id(waiting.info->id.ToString());
  *out.mutable_handshake() =
      broker::ToProto(waiting.facts, *waiting.endpoint, waiting.info->epoch);
  const auto timeout = waiting.endpoint->offer_timeout.count();
  out.mutable_timeout()->set_seconds(timeout / 1000);
  out.mutable_timeout()->set_nanos(static_cast<int32_t>(timeout % 1000) *
                                   1'000'000);
  return out;
}

v1::ClientMessage ToProto(ClientMessage& message, bool keep_payload) {
  using Kind = ClientMessage::Kind;
  v1::ClientMessage out;
  const ConnectionInfo& from = *message.from;
  out.set_message_id(message.id);
  const auto payload = [&]() -> std::string {
    return keep_payload ? message.payload : std::move(message.payload);
  };
  const auto fill = [&](v1::JsonRpcCall& call) {
    call.set_method(message.method);
    call.set_params_json(payload());
  };
  switch (message.kind) {
    case Kind::kRequest:
      fill(*out.mutable_request());
      break;
    case Kind::kNotification:
      fill(*out.mutable_notification());
      break;
    case Kind::kText:
      out.set_text(payload());
      break;
    case Kind::kBinary:
      out.set_binary(payload());
      break;
  }
  out.set_connection_id(from.id.ToString());
  *out.mutable_identity() = broker::ToProto(*from.identity);
  out.set_endpoint(from.endpoint);
  out.set_remote_address(from.remote_address);
  out.set_remote_port(from.remote_port);
  out.set_sequence(message.sequence);
  out.set_traceparent(message.traceparent);
  return out;
}

v1::RequestCancelled::Cause ToProto(CancelCause cause) {
  switch (cause) {
    case CancelCause::kClient:
      return v1::RequestCancelled::CAUSE_CLIENT;
    case CancelCause::kConnectionClosed:
      return v1::RequestCancelled::CAUSE_CONNECTION_CLOSED;
    case CancelCause::kTimeout:
      return v1::RequestCancelled::CAUSE_TIMEOUT;
  }
  return v1::RequestCancelled::CAUSE_UNSPECIFIED;
}

}  // namespace

absl::StatusOr<AttachSpec> ReadAttachStart(const Settings& settings,
                                           const Caller& caller,
                                           const v1::AttachStart& start) {
  AttachSpec spec;
  BROKER_ASSIGN_OR_RETURN(spec.ns, ReadNamespace(start, caller, settings));
  spec.handshakes = start.handshakes();
  if (spec.handshakes && caller.filter() != nullptr) {
    return WithReason(
        absl::PermissionDeniedError(absl::StrCat(
            "handshakes: clients that wait to be judged have no identity that "
            "the filter of caller ",
            Quoted(caller.name), " could match: use one without a filter")),
        "OUT_OF_REACH");
  }
  BROKER_ASSIGN_OR_RETURN(spec.events, ReadOptionalSelector(start));
  if (spec.events != nullptr) {
    spec.within = caller.filter();
    spec.events = Predicate::Both(spec.within, spec.events);
  }
  if (start.has_messages()) {
    const Framing framing = settings.FindNamespace(spec.ns)->framing;
    BROKER_ASSIGN_OR_RETURN(spec.messages,
                            ReadMessages(start.messages(), framing, caller));
  }
  if (spec.handshakes || spec.events != nullptr || spec.messages) return spec;
  return InvalidField("start",
                      "wants nothing: set handshakes, say which messages it "
                      "takes, or of which connections it wants events: "
                      "filter, filter_expr or match_all");
}

absl::StatusOr<ServiceReply> ReadReply(const v1::Reply& reply) {
  ServiceReply out;
  out.message_id = reply.message_id();
  out.report = reply.report();
  switch (reply.outcome_case()) {
    case v1::Reply::kResult: {
      BROKER_ASSIGN_OR_RETURN(out.json,
                              ValueToJson("reply.result", reply.result()));
      BROKER_RETURN_IF_ERROR(
          BelowField("reply.result", ValidateResult(out.json)));
      break;
    }
    case v1::Reply::kResultJson:
      BROKER_RETURN_IF_ERROR(
          BelowField("reply.result_json", ValidateResult(reply.result_json())));
      out.json = reply.result_json();
      break;
    case v1::Reply::kError: {
      out.is_error = true;
      BROKER_ASSIGN_OR_RETURN(out.json,
                              ErrorToJson("reply.error", reply.error()));
      break;
    }
    case v1::Reply::kErrorJson:
      out.is_error = true;
      BROKER_RETURN_IF_ERROR(
          BelowField("reply.error_json", ValidateError(reply.error_json())));
      out.json = reply.error_json();
      break;
    case v1::Reply::OUTCOME_NOT_SET:
      return InvalidField("reply",
                          "has no outcome: give result, result_json, error or "
                          "error_json");
  }
  return out;
}

v1::AttachResponse ToProto(const AttachFeed::Item& item, uint64_t epoch,
                           bool keep_payload) {
  using Kind = AttachFeed::Item::Kind;
  v1::AttachResponse out;
  switch (item.kind) {
    case Kind::kStarted:
      out.mutable_started()->set_epoch(epoch);
      break;
    case Kind::kOffer:
      *out.mutable_handshake_offer() = ToProto(item.offer_id, *item.handshake);
      break;
    case Kind::kAdmitted:
      *out.mutable_connection_admitted()->mutable_connection() =
          broker::ToProto(*item.info);
      break;
    case Kind::kUpdated:
      *out.mutable_connection_updated()->mutable_connection() =
          broker::ToProto(*item.info);
      break;
    case Kind::kClosed: {
      v1::ConnectionClosed& closed = *out.mutable_connection_closed();
      *closed.mutable_connection() = broker::ToProto(*item.info);
      closed.set_cause(ToProto(item.ending.cause));
      closed.set_code(item.ending.code);
      closed.set_reason(item.ending.reason);
      break;
    }
    case Kind::kMessage:
      *out.mutable_client_message() = ToProto(*item.message, keep_payload);
      break;
    case Kind::kCancelled:
      out.mutable_request_cancelled()->set_message_id(item.number);
      out.mutable_request_cancelled()->set_cause(ToProto(item.cause));
      break;
    case Kind::kReport:
      out.mutable_report()->set_report(item.number);
      out.mutable_report()->set_outcome(broker::ToProto(item.outcome));
      break;
  }
  return out;
}

}  // namespace broker::control
