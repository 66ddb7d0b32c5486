// Messages with options: those that give way to a client that reads slowly,
// those whose time is over, and how they end.

#include <algorithm>

#include "broker/ws/io_thread.h"
#include "broker/ws/socket.h"

namespace broker {

SendResult Socket::SendWithOptions(const FramePtr& frame) {
  const MessageOptions& options = *frame->options();
  if (options.expires_at <= io_.loop().now()) return SendResult::kExpired;
  if (options.slow_policy == SlowPolicy::kClose) {
    if (!HasRoom(*frame)) return SendResult::kTooSlow;
  } else if (!MakeRoom(*frame)) {
    return SendResult::kDropped;
  }
  const MonotonicTime before = outbox_.next_expiry();
  const ssize_t sent = SendNow(frame);
  if (end_pending_) return SendResult::kGone;
  if (sent == static_cast<ssize_t>(frame->size()) &&
      options.tracker != nullptr) {
    outbox_.AddEnd(
        {options.tracker, SendOutcome::kWritten, options.expires_at});
    TellEnds();
  }
  if (outbox_.next_expiry() < before) ArmOpen();
  return SendResult::kQueued;
}

bool Socket::MakeRoom(const Frame& frame) {
  const uint64_t limit =
      std::min(endpoint_->soft_outbox_bytes, endpoint_->max_outbox_bytes);
  Expire();
  const std::string& key = frame.options()->conflation_key;
  const uint64_t older = outbox_.Replaceable(key);
  // Who is above the limit already may still be told the newest.
  if (frame.size() > older && queued() - older + frame.size() > limit) {
    return false;
  }
  if (older > 0) {
    outbox_.TakeOutReplaceable(key);
    io_.stats().messages_out_dropped_slow.Add();
    OnTakenOut();
  }
  return true;
}

bool Socket::Expire() {
  const size_t expired = outbox_.Expire(io_.loop().now());
  if (expired == 0) {
    TellEnds();
    return false;
  }
  io_.stats().messages_out_expired.Add(expired);
  OnTakenOut();
  return true;
}

void Socket::OnTakenOut() {
  Account();
  WatchOutbox();
  TellEnds();
  if (idle()) OnFlushed();
}

void Socket::TellEnds() {
  if (!outbox_.has_ends()) return;
  const ConnectionId& id = io_.shard().connection_id(slot_);
  outbox_.OfferEnds([&](const Outbox::End& end) {
    SendOutcome outcome = end.outcome;
    // TLS has taken it, and the kernel may have not.
    if (outcome == SendOutcome::kWritten && tls_ != nullptr &&
        tls_->rest() > 0) {
      if (phase_ == Phase::kGone) {
        outcome = SendOutcome::kGone;
      } else if (end.expires_at > io_.loop().now()) {
        return false;
      } else {
        outcome = SendOutcome::kExpired;
      }
    }
    end.tracker->OnEnd(id, outcome);
    return true;
  });
}

}  // namespace broker
