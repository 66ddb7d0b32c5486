// What is due when: one timer for whatever a socket waits for.

#include <algorithm>

#include "broker/ws/io_thread.h"
#include "broker/ws/socket.h"

namespace broker {

void Socket::Arm(MonotonicTime at) {
  io_.loop().timers().Arm(timer_, at, [this] {
    // The wheel must not be left in the middle of its work.
    try {
      OnTimer();
    } catch (...) {
      Fault();
    }
  });
}

void Socket::ArmOpen() {
  MonotonicTime at = heartbeat_at_;
  if (slow_since_ != MonotonicTime::max()) {
    at = std::min(at, slow_since_ + endpoint_->soft_outbox_time);
  }
  at = std::min({at, MessageDeadline(), outbox_.next_expiry()});
  if (at == MonotonicTime::max()) return timer_.Cancel();
  Arm(at);
}

void Socket::ArmDraining() {
  Arm(std::min(drain_deadline_, outbox_.next_expiry()));
}

MonotonicTime Socket::MessageDeadline() const {
  const auto timeout = io_.shard().settings().limits.message_timeout;
  if (message_since_ == MonotonicTime::max() || timeout.count() == 0 ||
      paused_) {
    return MonotonicTime::max();
  }
  return message_since_ + timeout;
}

void Socket::OnOpenTimer() {
  const MonotonicTime now = io_.loop().now();
  Expire();
  if (slow_since_ != MonotonicTime::max() &&
      now >= slow_since_ + endpoint_->soft_outbox_time) {
    return io_.shard().OnSlowConsumer(slot_);
  }
  if (now >= MessageDeadline()) return io_.shard().OnMessageTimeout(slot_);
  if (now >= heartbeat_at_) OnHeartbeat();
  if (phase_ == Phase::kOpen) ArmOpen();
}

void Socket::OnTimer() {
  switch (phase_) {
    case Phase::kHead:
      io_.stats().handshake_timeouts.Add();
      return End();
    case Phase::kAsked:
      io_.stats().handshake_timeouts.Add();
      io_.Forget(opening_->id);
      return Refuse({503, "the handshake took too long", 1});
    case Phase::kOpen:
      return OnOpenTimer();
    case Phase::kDraining:
      if (io_.loop().now() >= drain_deadline_) return CloseNow();
      Expire();  // what is left may be nothing
      if (phase_ == Phase::kDraining) ArmDraining();
      return;
    case Phase::kClosing:
      return Reset();
    case Phase::kGone:
      return;
  }
}

}  // namespace broker
