// What goes out: frames, and how a connection ends.
//
// However it ends, these are the steps: the last bytes go into the outbox and
// the phase is kClosing, with a deadline; when the outbox is empty and the
// Engine has no more to say, our half of the connection is shut down; when the
// client's half is, too, or the deadline comes, the socket is closed. Only so
// the client gets the close frame although it is sending: to close a socket
// with unread bytes resets the connection.

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "broker/ws/io_thread.h"
#include "broker/ws/socket.h"

namespace broker {
namespace {

// The promise is 2 s, and the timers are up to 100 ms late.
constexpr std::chrono::milliseconds kCloseDeadline{1'750};
// For the statistics: no status of HTTP's, but what others count it under.
constexpr int kClientGone = 499;

}  // namespace

void Socket::Account() {
  const uint64_t before = std::exchange(accounted_, queued());
  io_.stats().outbox_bytes.Add(static_cast<int64_t>(accounted_ - before));
  if (accounted_ <= peak_) return;
  peak_ = accounted_;
  io_.stats().outbox_peak_bytes.RaiseTo(static_cast<int64_t>(peak_));
}

ssize_t Socket::SendBytes(const iovec* parts, size_t count) {
  if (tls_ == nullptr) return SendSome(fd_, parts, count);
  const ssize_t taken = tls_->Send(parts, count);
  // What the outbox offers is still in it, too: Flush accounts for that.
  if (outbox_.empty()) Account();
  return taken;
}

template <typename... Args>
void Socket::Push(Args&&... args) {
  outbox_.Push(std::forward<Args>(args)...);
  Account();
  if (slot_ != kNoSlot) io_.SetReady(slot_, false);
  WatchOutbox();
}

void Socket::WatchOutbox() {
  if (phase_ != Phase::kOpen) return;
  if (SetSlow(queued() > endpoint_->soft_outbox_bytes)) ArmOpen();
}

bool Socket::SetSlow(bool slow) {
  if (slow == (slow_since_ != MonotonicTime::max())) return false;
  slow_since_ = slow ? io_.loop().now() : MonotonicTime::max();
  io_.stats().slow_connections.Add(slow ? 1 : -1);
  return true;
}

SendResult Socket::Send(const FramePtr& frame) {
  if (phase_ != Phase::kOpen || end_pending_) return SendResult::kGone;
  if (frame->options() != nullptr) return SendWithOptions(frame);
  if (!HasRoom(*frame)) return SendResult::kTooSlow;
  SendNow(frame);
  return end_pending_ ? SendResult::kGone : SendResult::kQueued;
}

ssize_t Socket::SendNow(const FramePtr& frame) {
  ssize_t sent = 0;
  if (outbox_.empty()) {
    const iovec whole{const_cast<char*>(frame->bytes().data()), frame->size()};
    sent = SendBytes(&whole, 1);
    if (sent > 0) io_.stats().bytes_out.Add(static_cast<uint64_t>(sent));
  }
  SendRest({&frame, 1}, sent);
  return sent;
}

bool Socket::HasRoom(const Frame& frame) {
  const uint64_t limit = endpoint_->max_outbox_bytes;
  if (queued() + frame.size() <= limit) return true;
  return Expire() && queued() + frame.size() <= limit;
}

void Socket::SendRest(absl::Span<const FramePtr> frames, ssize_t sent) {
  if (sent < 0) return EndLater();
  if (phase_ != Phase::kOpen || end_pending_) return;
  auto skip = static_cast<size_t>(sent);
  for (const FramePtr& frame : frames) {
    const size_t of_this = std::min(skip, frame->size());
    skip -= of_this;
    if (of_this < frame->size()) Push(frame, of_this);
  }
}

// A copy of what the kernel does not take, so that the Engine may go on.
void Socket::Write(absl::Span<const iovec> parts, Outbox::Keep keep) {
  size_t size = 0;
  for (const iovec& part : parts) size += part.iov_len;
  ssize_t sent = 0;
  if (outbox_.empty()) {
    sent = SendBytes(parts.data(), parts.size());
    if (sent < 0) return EndLater();
    io_.stats().bytes_out.Add(static_cast<uint64_t>(sent));
    if (static_cast<size_t>(sent) == size) return;
  }
  std::string whole;
  whole.reserve(size);
  for (const iovec& part : parts) {
    whole.append(static_cast<const char*>(part.iov_base), part.iov_len);
  }
  Push(std::move(whole), static_cast<size_t>(sent), keep);
}

void Socket::Flush() {
  Expire();
  const uint64_t before = outbox_.bytes();
  const bool alive = (tls_ == nullptr || tls_->Flush()) &&
                     outbox_.Flush([this](const iovec* parts, size_t count) {
                       return SendBytes(parts, count);
                     });
  io_.stats().bytes_out.Add(before - outbox_.bytes());
  Account();
  if (!alive) return End();
  WatchOutbox();
  TellEnds();
  if (idle()) OnFlushed();
}

void Socket::OnFlushed() {
  if (phase_ == Phase::kOpen) {
    io_.SetReady(slot_, !end_pending_);
  } else if (phase_ == Phase::kDraining) {
    CloseNow();
  } else if (engine_ended_) {
    HalfClose();
  }
}

// ---- by the Engine ----------------------------------------------------------

void Socket::EngineWroteHead(const iovec& head) {
  Write({&head, 1}, Outbox::Keep::kAlways);
}

void Socket::EngineWroteFrame(absl::Span<const iovec> parts) {
  // No pong behind a close frame.
  if (phase_ == Phase::kOpen) Write(parts, Outbox::Keep::kUntilDiscard);
}

void Socket::EngineWroteClose(absl::Span<const iovec> parts, uint16_t code) {
  const bool unasked = phase_ == Phase::kOpen;
  wire_code_ = code;
  Write(parts, Outbox::Keep::kAlways);
  if (phase_ != Phase::kClosing) BeginClosing();
  if (unasked) io_.shard().OnClosing(slot_, code);
}

void Socket::EngineEnded() {
  if (phase_ == Phase::kGone) return;
  engine_ended_ = true;
  if (phase_ != Phase::kClosing) BeginClosing();
  if (idle()) HalfClose();
}

// ---- the end ----------------------------------------------------------------

void Socket::Close(CloseCode code, absl::Duration drain_for) {
  const bool drain = drain_for > absl::ZeroDuration() && !idle();
  const MonotonicTime deadline =
      io_.loop().now() +
      std::chrono::milliseconds(absl::ToInt64Milliseconds(drain_for));
  if (phase_ == Phase::kOpen) {
    close_code_ = code;
    if (!drain) return CloseNow();
    phase_ = Phase::kDraining;
    SetSlow(false);
    io_.SetReady(slot_, false);
    drain_deadline_ = deadline;
    ArmDraining();
  } else if (phase_ == Phase::kDraining) {
    if (!drain) return CloseNow();
    if (deadline >= drain_deadline_) return;
    drain_deadline_ = deadline;
    ArmDraining();
  }
}

void Socket::CloseWithReason(CloseCode code, absl::string_view reason) {
  if (phase_ == Phase::kOpen) {
    close_code_ = code;
    CloseNow(reason);
  } else if (phase_ == Phase::kDraining) {
    CloseNow();
  }
}

void Socket::CloseNow(absl::string_view reason) {
  outbox_.Discard();
  Account();
  TellEnds();
  BeginClosing();
  if (!engine_.Close(static_cast<uint16_t>(close_code_), reason)) {
    EngineEnded();
  }
}

void Socket::BeginClosing() {
  phase_ = Phase::kClosing;
  SetSlow(false);
  if (slot_ != kNoSlot) io_.SetReady(slot_, false);
  // The client's close frame is behind what was left unread.
  if (std::exchange(paused_, false) && readable_) ReadLater();
  Arm(io_.loop().now() + kCloseDeadline);
}

void Socket::HalfClose() {
  if (tls_ != nullptr) {
    tls_->SendEnd();
    Account();
    if (!idle()) return;  // and again when it is
  }
  shutdown(fd_, SHUT_WR);
  if (eof_) EndLater();
}

// The client had its time. Without a reset the kernel would keep what the
// client does not read, and go on offering it.
void Socket::Reset() {
  const linger rst{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
  End();
}

void Socket::EndLater() {
  end_pending_ = true;
  if (slot_ != kNoSlot) io_.SetReady(slot_, false);
  Later();
}

void Socket::Fault() noexcept {
  try {
    if (phase_ == Phase::kOpen) {
      engine_.Close(static_cast<uint16_t>(CloseCode::kInternal),
                    CloseReason(CloseCode::kInternal));
    } else if (phase_ == Phase::kHead) {
      Refuse({500, "internal error"});
    } else {
      EndLater();
    }
  } catch (...) {
    EndLater();
  }
}

void Socket::ReadLater() {
  readable_ = true;
  Later();
}

void Socket::Later() {
  if (std::exchange(later_, true)) return;
  io_.Later(*this);
}

void Socket::End() {
  if (phase_ == Phase::kGone) return;
  if (phase_ == Phase::kHead) io_.stats().handshakes.Add(0);
  if (phase_ == Phase::kAsked) {
    io_.stats().handshakes.Add(kClientGone);
    io_.Forget(opening_->id);
  }
  phase_ = Phase::kGone;
  SetSlow(false);
  timer_.Cancel();
  outbox_.Clear();
  TellEnds();
  io_.stats().outbox_bytes.Add(-static_cast<int64_t>(accounted_));
  close(std::exchange(fd_, -1));
  lease_.Release();
  opening_.reset();
  if (opened_) io_.shard().OnGone(slot_, wire_code_);
  if (slot_ != kNoSlot) io_.Leave(slot_);
  io_.Bury(*this);
}

}  // namespace broker
