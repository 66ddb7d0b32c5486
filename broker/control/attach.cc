#include "broker/control/attach.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/control/attach_convert.h"
#include "broker/control/audit.h"
#include "broker/control/fields.h"
#include "broker/control/message.h"
#include "broker/core/log.h"
#include "broker/core/mutex.h"
#include "broker/core/status.h"
#include "broker/rpc/status.h"

namespace broker::control {
namespace {

namespace v1 = ::socketbroker::v1;

// What a close frame has room for beside the code.
constexpr size_t kMaxReasonBytes = 123;

// What is none, or what its client may not get, is left out, and the stream
// goes on: all clients share it, and what one of them said may be the cause.
void LogUnfit(const absl::Status& why) {
  static LogLimiter limiter{1};  // one line a second
  limiter.Log(LogLevel::kWarning, "unfit",
              "a service said what cannot be sent to its client",
              {{"why", std::string(why.message())}});
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
    if (!ok) return OnHalfClose(feed);
    const absl::Status status = Hear(feed);
    if (!status.ok()) return feed->Fail(status);
    if (feed->MayListen()) StartRead(&request_);
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
    auto spec = ReadAttachStart(*hub_.settings(), *caller_, request_.start());
    if (!spec.ok()) return End(spec.status());
    const auto feed = std::make_shared<AttachFeed>(*std::move(spec));
    {
      MutexLock lock(mu_);
      feed_ = feed;
    }
    const v1::AttachCredit& credit = request_.start().credit();
    feed->AddEventCredit(credit.events());
    feed->AddMessageCredit(credit.messages());
    hub_.Attach(feed, credit.handshakes());
    WriteNext();
  }

  absl::Status Hear(const AttachFeedPtr& feed) {
    switch (request_.message_case()) {
      case v1::AttachRequest::kStart:
        return InvalidField("start", "must be the first message, and no other");
      case v1::AttachRequest::kCredit:
        feed->AddEventCredit(request_.credit().events());
        feed->AddMessageCredit(request_.credit().messages());
        hub_.AddHandshakeCredit(feed, request_.credit().handshakes());
        return absl::OkStatus();
      case v1::AttachRequest::kRefuseHandshake:
        Refuse(feed, request_.refuse_handshake());
        return absl::OkStatus();
      case v1::AttachRequest::kReply:
        Reply(feed, request_.reply());
        return absl::OkStatus();
      case v1::AttachRequest::kSend:
        BROKER_RETURN_IF_ERROR(caller_->CheckRole(RuleFor("SendToConnection")));
        Send(feed, request_.send());
        return absl::OkStatus();
      case v1::AttachRequest::kDrain:
        hub_.DrainService(feed);
        return absl::OkStatus();
      case v1::AttachRequest::MESSAGE_NOT_SET:
        break;
    }
    return InvalidField("message",
                        "is missing: give credit, reply, send, "
                        "refuse_handshake or drain");
  }

  void Refuse(const AttachFeedPtr& feed, const v1::RefuseHandshake& refusal) {
    std::string reason = refusal.reason();
    if (reason.size() > kMaxReasonBytes) {
      LogUnfit(InvalidField("refuse_handshake.reason",
                            absl::StrCat(reason.size(), " bytes, at most ",
                                         kMaxReasonBytes, " are allowed")));
      reason.clear();
    }
    hub_.RefuseHandshake(feed, refusal.offer_id(), std::move(reason));
  }

  void Reply(const AttachFeedPtr& feed, const v1::Reply& in) {
    absl::StatusOr<ServiceReply> reply = ReadReply(in);
    if (reply.ok()) return hub_.Reply(feed, *std::move(reply));
    LogUnfit(reply.status());
    ServiceReply unfit;
    unfit.message_id = in.message_id();
    unfit.report = in.report();
    unfit.unfit = true;
    hub_.Reply(feed, std::move(unfit));
  }

  void Send(const AttachFeedPtr& feed, const v1::ClientSend& send) {
    feed->BeginCommand();
    auto end = [feed,
                report = send.report()](absl::StatusOr<SendOutcome> outcome) {
      const bool unfit = absl::IsInvalidArgument(outcome.status());
      if (unfit) LogUnfit(outcome.status());
      feed->EndCommand(report, outcome.value_or(unfit ? SendOutcome::kUnfit
                                                      : SendOutcome::kGone));
    };
    const auto id = ReadUuid("send.connection_id", send.connection_id());
    if (!id.ok()) return end(id.status());
    auto message = ReadMessage(send.has_message(), send.message(),
                               hub_.clock().Monotonic());
    if (!message.ok()) return end(BelowField("send", message.status()));
    hub_.SendTo(*id, *std::move(message), std::move(end), caller_->reach);
  }

  // It has no more to say, so it cannot reply; it may still listen.
  void OnHalfClose(const AttachFeedPtr& feed) {
    const AttachSpec& spec = feed->spec();
    if (!spec.messages) return;
    hub_.StopMessages(feed);
    if (!spec.handshakes && spec.events == nullptr) feed->EndWhenDone();
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
      if (next.listen) StartRead(&request_);
      if (!next.item) return WriteNext();
      // Credit counts from the start on.
      if (next.item->kind == AttachFeed::Item::Kind::kStarted) {
        StartRead(&request_);
      }
      response_ = ToProto(*next.item, hub_.epoch(), keep_payload());
      StartWrite(&response_);
    });
  }

  // A request may have to be given to another service.
  bool keep_payload() const {
    const auto& messages = feed_->spec().messages;
    return messages && messages->idempotent;
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
