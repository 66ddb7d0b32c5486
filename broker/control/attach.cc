#include "broker/control/attach.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/control/audit.h"
#include "broker/control/convert.h"
#include "broker/control/fields.h"
#include "broker/core/mutex.h"
#include "broker/core/quoted.h"
#include "broker/core/status.h"
#include "broker/rpc/handshake.h"
#include "broker/rpc/status.h"

namespace broker::control {
namespace {

namespace v1 = ::socketbroker::v1;

// What a close frame has room for beside the code.
constexpr size_t kMaxReasonBytes = 123;

absl::StatusOr<AttachSpec> ReadSpec(Hub& hub, const Caller& caller,
                                    const v1::AttachStart& start) {
  AttachSpec spec;
  BROKER_ASSIGN_OR_RETURN(spec.ns,
                          ReadNamespace(start, caller, *hub.settings()));
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
  if (spec.handshakes || spec.events != nullptr) return spec;
  return InvalidField("start",
                      "wants nothing: set handshakes, or say of which "
                      "connections it wants events: filter, filter_expr or "
                      "match_all");
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

v1::AttachResponse ToProto(const AttachFeed::Item& item, uint64_t epoch) {
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
  }
  return out;
}

// Once there is a feed, its reader is the one that ends the stream: who else
// wants that fails the feed, which wakes the reader. So no write is under way.
class Stream final
    : public grpc::ServerBidiReactor<v1::AttachRequest, v1::AttachResponse> {
 public:
  Stream(Hub& hub, const Access& access, CallerPtr caller, RpcStats& stats)
      : hub_(hub), access_(access), caller_(std::move(caller)), stats_(stats) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    const AttachFeedPtr feed = this->feed();
    if (feed == nullptr) return Begin(ok);
    if (!ok) return;  // It has no more to say; it may still listen.
    const absl::Status status = Hear(feed);
    if (!status.ok()) return feed->Fail(status);
    StartRead(&request_);
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      WriteNext();
    } else {
      End(Gone());
    }
  }

  void OnCancel() override {
    const AttachFeedPtr feed = this->feed();
    // Without one it ends with the read that is under way.
    if (feed != nullptr) feed->Fail(Gone());
  }

  void OnDone() override {
    if (const AttachFeedPtr feed = this->feed()) {
      feed->Cancel();
      hub_.Detach(feed);
    }
    delete this;
  }

 private:
  static absl::Status Gone() {
    return absl::CancelledError("the service is gone");
  }

  AttachFeedPtr feed() {
    MutexLock lock(mu_);
    return feed_;
  }

  // The first message.
  void Begin(bool ok) {
    if (!ok || !request_.has_start()) {
      return End(InvalidField("start", "must be the first message"));
    }
    auto spec = ReadSpec(hub_, *caller_, request_.start());
    if (!spec.ok()) return End(spec.status());
    const auto feed = std::make_shared<AttachFeed>(*std::move(spec));
    {
      MutexLock lock(mu_);
      feed_ = feed;
    }
    const v1::AttachCredit& credit = request_.start().credit();
    feed->AddEventCredit(credit.events());
    hub_.Attach(feed, credit.handshakes());
    WriteNext();
  }

  absl::Status Hear(const AttachFeedPtr& feed) {
    switch (request_.message_case()) {
      case v1::AttachRequest::kStart:
        return InvalidField("start", "must be the first message, and no other");
      case v1::AttachRequest::kCredit:
        feed->AddEventCredit(request_.credit().events());
        hub_.AddHandshakeCredit(feed, request_.credit().handshakes());
        return absl::OkStatus();
      case v1::AttachRequest::kRefuseHandshake:
        return Refuse(feed, request_.refuse_handshake());
      case v1::AttachRequest::MESSAGE_NOT_SET:
        break;
    }
    return InvalidField("message",
                        "is missing: give credit, or "
                        "refuse_handshake");
  }

  absl::Status Refuse(const AttachFeedPtr& feed,
                      const v1::RefuseHandshake& refusal) {
    if (refusal.reason().size() > kMaxReasonBytes) {
      return InvalidField(
          "refuse_handshake.reason",
          absl::StrCat(refusal.reason().size(), " bytes, at most ",
                       kMaxReasonBytes, " are allowed"));
    }
    hub_.RefuseHandshake(feed, refusal.offer_id(), refusal.reason());
    return absl::OkStatus();
  }

  void WriteNext() {
    feed_->NotifyWhenReady([this] {
      AttachFeed::Next next = feed_->TakeNext();
      // What was answered meanwhile cost the service nothing.
      if (next.skipped > 0) hub_.AddHandshakeCredit(feed_, next.skipped);
      if (next.end) return End(*next.end);
      const absl::Status may =
          access_.CheckUnchanged(caller_, RuleFor("Attach"));
      if (!may.ok()) return End(may);
      if (!next.item) return WriteNext();
      // Credit counts from the start on.
      if (next.item->kind == AttachFeed::Item::Kind::kStarted) {
        StartRead(&request_);
      }
      response_ = ToProto(*next.item, hub_.epoch());
      StartWrite(&response_);
    });
  }

  void End(const absl::Status& status) {
    const grpc::Status out = ToGrpcStatus(status);
    stats_.Add("Attach", out.error_code());
    AuditEnd(caller_->name, RuleFor("Attach"), status);
    Finish(out);
  }

  Hub& hub_;
  const Access& access_;
  CallerPtr caller_;
  RpcStats& stats_;
  v1::AttachRequest request_;
  v1::AttachResponse response_;
  Mutex mu_;
  AttachFeedPtr feed_;  // written once, under mu_, before the first write
};

}  // namespace

grpc::ServerBidiReactor<v1::AttachRequest, v1::AttachResponse>* Attach(
    Hub& hub, const Access& access, CallerPtr caller, RpcStats& stats) {
  return new Stream(hub, access, std::move(caller), stats);
}

}  // namespace broker::control
