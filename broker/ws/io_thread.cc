#include "broker/ws/io_thread.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "broker/ws/forwarded.h"
#include "broker/ws/net.h"
#include "broker/ws/socket.h"

namespace broker {
namespace {

// The bytes of one connection that may wait for the end of a turn: about what a
// kernel takes at once.
constexpr uint64_t kMaxTurnBytes = 64 * 1024;

}  // namespace

IoThread::IoThread()
    : loop_([this](void* tag, uint32_t events) { OnEvent(tag, events); },
            [this] { FlushAll(); }) {}

IoThread::~IoThread() { Stop(); }

void IoThread::Start(Shard& shard, int listener, TlsContextPtr tls) {
  shard_ = &shard;
  thread_ = std::thread([this, listener, tls = std::move(tls)]() mutable {
    on_thread_.BindToThisThread();
    on_thread_.AssertHeld();
    tls_ = std::move(tls);
    shard_->BindToThisThread();
    acceptor_.emplace(
        loop_, listener,
        [this](int fd, const sockaddr_storage& peer) {
          return OnAccept(fd, peer);
        },
        stats().accept_failures);
    loop_.Run();
  });
}

void IoThread::SetTls(TlsContextPtr tls) {
  loop_.Post([this, tls = std::move(tls)]() mutable {
    on_thread_.AssertHeld();
    tls_ = std::move(tls);
  });
}

void IoThread::StopAccepting() {
  loop_.Post([this] {
    on_thread_.AssertHeld();
    if (acceptor_) acceptor_->Close();
  });
}

void IoThread::Stop() {
  if (!thread_.joinable()) return loop_.Stop();
  loop_.Post([this] { EndAll(); });
  thread_.join();
}

void IoThread::EndAll() {
  on_thread_.AssertHeld();
  acceptor_.reset();
  while (!sockets_.empty()) sockets_.back()->End();
  loop_.Stop();
}

// ---- Transport --------------------------------------------------------------

void IoThread::Post(absl::AnyInvocable<void()> task) {
  loop_.Post(std::move(task));
}

// Nothing is written before the end of the turn. Two passes over the array cost
// a hundredth of one system call, and every call that is saved pays for a
// hundred messages.
void IoThread::Send(absl::Span<const Slot> slots, const FramePtr& frame,
                    SendResult* results) {
  on_thread_.AssertHeld();
  if (frame->options() != nullptr) return SendEach(slots, frame, results);
  batch_.Begin(frame);
  for (size_t i = 0; i < slots.size(); ++i) {
    Hot& hot = hot_[slots[i]];
    if (!hot.ready ||
        batch_.size(hot.waiting) + frame->size() > hot.max_waiting) {
      results[i] = SendAtOnce(slots[i], frame);
      continue;
    }
    if (hot.waiting == TurnBatch::kNone) waiting_.push_back(slots[i]);
    hot.waiting = batch_.Append(hot.waiting);
    results[i] = SendResult::kQueued;
  }
}

void IoThread::SendEach(absl::Span<const Slot> slots, const FramePtr& frame,
                        SendResult* results) {
  for (size_t i = 0; i < slots.size(); ++i) {
    results[i] = SendAtOnce(slots[i], frame);
  }
}

SendResult IoThread::SendAtOnce(Slot slot, const FramePtr& frame) {
  on_thread_.AssertHeld();
  Flush(slot);
  return by_slot_[slot]->Send(frame);
}

void IoThread::Flush(Slot slot) {
  on_thread_.AssertHeld();
  Hot& hot = hot_[slot];
  const auto waiting = std::exchange(hot.waiting, TurnBatch::kNone);
  if (waiting == TurnBatch::kNone) return;
  ssize_t sent = 0;
  if (hot.ready) {
    const absl::string_view bytes = batch_.bytes(waiting);
    const iovec all{const_cast<char*>(bytes.data()), bytes.size()};
    sent = hot.fd >= 0 ? SendSome(hot.fd, &all, 1)
                       : by_slot_[slot]->SendBytes(&all, 1);
    if (sent > 0) written_ += static_cast<uint64_t>(sent);
    if (sent == static_cast<ssize_t>(bytes.size())) return;
  }
  by_slot_[slot]->SendRest(batch_.Frames(waiting), sent);
}

void IoThread::FlushAll() {
  on_thread_.AssertHeld();
  if (waiting_.empty()) return;
  for (const Slot slot : waiting_) Flush(slot);
  waiting_.clear();
  batch_.Clear();
  stats().bytes_out.Add(std::exchange(written_, 0));
}

void IoThread::Close(Slot slot, CloseCode code, absl::Duration drain_for) {
  on_thread_.AssertHeld();
  Flush(slot);  // what was sent before the close comes before it
  by_slot_[slot]->Close(code, drain_for);
}

void IoThread::CloseWithReason(Slot slot, CloseCode code,
                               absl::string_view reason) {
  on_thread_.AssertHeld();
  Flush(slot);
  by_slot_[slot]->CloseWithReason(code, reason);
}

void IoThread::SetReading(Slot slot, bool on) {
  on_thread_.AssertHeld();
  by_slot_[slot]->SetReading(on);
}

Transport::OutboxBytes IoThread::Outbox(Slot slot) const {
  on_thread_.AssertHeld();
  OutboxBytes bytes = by_slot_[slot]->outbox_bytes();
  bytes.now += batch_.size(hot_[slot].waiting);
  bytes.peak = std::max(bytes.peak, bytes.now);
  return bytes;
}

// ---- by its sockets ---------------------------------------------------------

std::unique_ptr<TlsSession> IoThread::MakeTls(int fd) {
  on_thread_.AssertHeld();
  if (tls_ == nullptr) return nullptr;
  if (tls_buffers_ == nullptr) tls_buffers_ = std::make_unique<TlsBuffers>();
  return std::make_unique<TlsSession>(*tls_, fd, *tls_buffers_);
}

void IoThread::OnTlsFailure(const PeerAddress& peer, absl::string_view why) {
  stats().tls_failures.Add();
  tls_failures_.Log(LogLevel::kInfo, "tls_failed",
                    "a client and the broker could not agree on TLS",
                    {{"reason", why}, {"remote_address", peer.address}});
}

Slot IoThread::Join(Socket& socket, int fd, uint64_t max_outbox_bytes) {
  on_thread_.AssertHeld();
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<Slot>(hot_.size()));
    hot_.emplace_back();
    by_slot_.push_back(nullptr);
  }
  const Slot slot = free_slots_.back();
  free_slots_.pop_back();
  hot_[slot] = {
      fd, false, TurnBatch::kNone,
      static_cast<uint32_t>(std::min(max_outbox_bytes, kMaxTurnBytes))};
  by_slot_[slot] = &socket;
  return slot;
}

void IoThread::SetReady(Slot slot, bool ready) {
  on_thread_.AssertHeld();
  hot_[slot].ready = ready;
}

void IoThread::Leave(Slot slot) {
  on_thread_.AssertHeld();
  hot_[slot] = {};
  by_slot_[slot] = nullptr;
  free_slots_.push_back(slot);
}

uint64_t IoThread::NextHandshake() {
  on_thread_.AssertHeld();
  return ++handshakes_;
}

void IoThread::Await(uint64_t handshake, Socket& socket) {
  on_thread_.AssertHeld();
  awaiting_[handshake] = &socket;
}

void IoThread::Forget(uint64_t handshake) {
  on_thread_.AssertHeld();
  awaiting_.erase(handshake);
}

void IoThread::OnAnswer(uint64_t handshake, HandshakeAnswer answer) {
  on_thread_.AssertHeld();
  const auto waiting = awaiting_.extract(handshake);
  if (waiting.empty()) return;  // The client did not wait.
  try {
    waiting.mapped()->OnLateAnswer(std::move(answer));
  } catch (...) {
    waiting.mapped()->Fault();
  }
}

void IoThread::AnswerAtTick(uint64_t handshake, HandshakeAnswer answer) {
  on_thread_.AssertHeld();
  held_.emplace_back(handshake, std::move(answer));
  if (held_.size() > 1) return;
  loop_.timers().Arm(held_timer_, loop_.now() + TimerWheel::kTick, [this] {
    on_thread_.AssertHeld();
    for (auto& [id, held] : std::exchange(held_, {})) {
      OnAnswer(id, std::move(held));
    }
  });
}

void IoThread::Later(Socket& socket) {
  on_thread_.AssertHeld();
  later_.push_back(&socket);
  if (std::exchange(later_posted_, true)) return;
  loop_.Post([this] { RunLater(); });
}

void IoThread::Bury(Socket& socket) {
  on_thread_.AssertHeld();
  const size_t index = socket.index;
  graveyard_.push_back(std::move(sockets_[index]));
  if (index + 1 < sockets_.size()) {
    sockets_[index] = std::move(sockets_.back());
    sockets_[index]->index = index;
  }
  sockets_.pop_back();
  if (std::exchange(later_posted_, true)) return;
  loop_.Post([this] { RunLater(); });
}

// Who is buried while this runs may have asked for it before: destroyed the
// next time.
void IoThread::RunLater() {
  on_thread_.AssertHeld();
  later_posted_ = false;
  const auto dead = std::exchange(graveyard_, {});
  for (Socket* socket : std::exchange(later_, {})) {
    try {
      socket->OnLater();
    } catch (...) {
      socket->Fault();
    }
  }
}

// ---- events -----------------------------------------------------------------

void IoThread::OnEvent(void* tag, uint32_t events) {
  on_thread_.AssertHeld();
  if (tag == nullptr) {
    if (acceptor_) acceptor_->OnEvent();
  } else {
    auto* socket = static_cast<Socket*>(tag);
    try {
      socket->OnEvent(events);
    } catch (...) {
      socket->Fault();
    }
  }
}

bool IoThread::OnAccept(int fd, const sockaddr_storage& peer) {
  on_thread_.AssertHeld();
  stats().sockets_accepted.Add();
  PeerAddress address = ToPeerAddress(peer);
  SocketOverload overload = SocketOverload::kNone;
  const bool proxied =
      IsTrusted(address.address, shard_->settings().trusted_proxies);
  SocketLease lease =
      proxied ? shard_->caps().OpenSocket(overload)
              : shard_->caps().OpenSocket(address.address, overload);
  if (!lease) {
    stats().sockets_turned_away.Add();
    close(fd);
    return false;
  }
  sockets_.push_back(std::make_unique<Socket>(
      *this, fd, std::move(address), proxied, std::move(lease), overload));
  sockets_.back()->index = sockets_.size() - 1;
  sockets_.back()->Start();
  // An address may be over its own limit: that must hold up nobody else.
  return overload != SocketOverload::kTotal;
}

}  // namespace broker
