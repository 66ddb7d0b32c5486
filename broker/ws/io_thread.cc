#include "broker/ws/io_thread.h"

#include <unistd.h>

#include <utility>

#include "broker/ws/net.h"
#include "broker/ws/socket.h"

namespace broker {

IoThread::IoThread()
    : loop_([this](void* tag, uint32_t events) { OnEvent(tag, events); }) {}

IoThread::~IoThread() { Stop(); }

void IoThread::Start(Shard& shard, int listener) {
  shard_ = &shard;
  thread_ = std::thread([this, listener] {
    on_thread_.BindToThisThread();
    on_thread_.AssertHeld();
    shard_->BindToThisThread();
    acceptor_.emplace(
        loop_, listener,
        [this](int fd, const sockaddr_storage& peer) { OnAccept(fd, peer); },
        stats().accept_failures);
    loop_.Run();
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

void IoThread::Send(absl::Span<const Slot> slots, const FramePtr& frame,
                    SendResult* results) {
  on_thread_.AssertHeld();
  const iovec whole{const_cast<char*>(frame->bytes().data()), frame->size()};
  uint64_t written = 0;
  for (size_t i = 0; i < slots.size(); ++i) {
    const Hot& hot = hot_[slots[i]];
    if (!hot.ready || frame->size() > hot.max_outbox_bytes) {
      results[i] = by_slot_[slots[i]]->Send(frame);
      continue;
    }
    const ssize_t n = SendSome(hot.fd, &whole, 1);
    if (n > 0) written += static_cast<uint64_t>(n);
    results[i] = n == static_cast<ssize_t>(frame->size())
                     ? SendResult::kQueued
                     : by_slot_[slots[i]]->SendRest(frame, n);
  }
  stats().bytes_out.Add(written);
}

void IoThread::Close(Slot slot, CloseCode code, absl::Duration drain_for) {
  on_thread_.AssertHeld();
  by_slot_[slot]->Close(code, drain_for);
}

Transport::OutboxBytes IoThread::Outbox(Slot slot) const {
  on_thread_.AssertHeld();
  return by_slot_[slot]->outbox_bytes();
}

// ---- by its sockets ---------------------------------------------------------

Slot IoThread::Join(Socket& socket, int fd, uint64_t max_outbox_bytes) {
  on_thread_.AssertHeld();
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<Slot>(hot_.size()));
    hot_.emplace_back();
    by_slot_.push_back(nullptr);
  }
  const Slot slot = free_slots_.back();
  free_slots_.pop_back();
  hot_[slot] = {fd, false, max_outbox_bytes};
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
  for (Socket* socket : std::exchange(later_, {})) socket->OnLater();
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
      socket->EndLater();
    }
  }
}

void IoThread::OnAccept(int fd, const sockaddr_storage& peer) {
  on_thread_.AssertHeld();
  stats().sockets_accepted.Add();
  PeerAddress address = ToPeerAddress(peer);
  SocketOverload overload = SocketOverload::kNone;
  SocketLease lease = shard_->caps().OpenSocket(address.address, overload);
  if (!lease) {
    stats().sockets_turned_away.Add();
    close(fd);
    return;
  }
  sockets_.push_back(std::make_unique<Socket>(*this, fd, std::move(address),
                                              std::move(lease), overload));
  sockets_.back()->index = sockets_.size() - 1;
  sockets_.back()->Start();
}

}  // namespace broker
