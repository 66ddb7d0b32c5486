// FakeTransport: the sockets of a shard in memory. Tasks wait until the test
// runs them, so that it decides what comes before what.

#pragma once

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "broker/core/mutex.h"
#include "broker/hub/shard.h"
#include "broker/hub/transport.h"
#include "tests/fakes/fake_clock.h"

namespace broker::testing {

class FakeTransport final : public Transport {
 public:
  struct Socket {
    std::vector<std::string> sent;  // payloads
    bool closed = false;
    CloseCode code = CloseCode::kRemoved;
    std::string reason;  // when it is not the code's
    absl::Duration drain_for;
    int close_calls = 0;
    bool reading = true;
    SendResult next_result = SendResult::kQueued;
    std::vector<OutcomeTrackerPtr> tracked;  // of those sent, without an end
    OutboxBytes outbox{7, 9};
  };

  explicit FakeTransport(const FakeClock& clock)
      : clock_(clock), wheel_(clock.Monotonic()) {}

  void Post(absl::AnyInvocable<void()> task) override {
    MutexLock lock(mu_);
    tasks_.push_back(std::move(task));
  }
  TimerWheel& timers() override { return wheel_; }
  void Send(absl::Span<const Slot> slots, const FramePtr& frame,
            SendResult* results) override {
    for (size_t i = 0; i < slots.size(); ++i) {
      Socket& socket = sockets.at(slots[i]);
      results[i] = socket.next_result;
      if (results[i] != SendResult::kQueued) continue;
      socket.sent.push_back(frame->bytes());
      if (frame->options() != nullptr && frame->options()->tracker != nullptr) {
        socket.tracked.push_back(frame->options()->tracker);
      }
    }
  }
  void Close(Slot slot, CloseCode code, absl::Duration drain_for) override {
    Socket& socket = sockets.at(slot);
    ++socket.close_calls;
    if (!socket.closed) socket.code = code;
    socket.closed = true;
    socket.drain_for = drain_for;
  }
  void CloseWithReason(Slot slot, CloseCode code,
                       absl::string_view reason) override {
    sockets.at(slot).reason = std::string(reason);
    Close(slot, code, absl::ZeroDuration());
  }
  void SetReading(Slot slot, bool on) override {
    sockets.at(slot).reading = on;
  }
  OutboxBytes Outbox(Slot slot) const override {
    return sockets.at(slot).outbox;
  }

  // Runs what is waiting, and what that posts; false when nothing was.
  bool RunOne() {
    absl::AnyInvocable<void()> task;
    {
      MutexLock lock(mu_);
      if (tasks_.empty()) return false;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
    return true;
  }
  void Run() {
    while (RunOne()) {
    }
  }
  void DropTasks() {
    std::deque<absl::AnyInvocable<void()>> dropped;
    MutexLock lock(mu_);
    dropped.swap(tasks_);
  }
  void AdvanceTimers() { wheel_.Advance(clock_.Monotonic()); }

  // A handshake that is accepted, opened in the next free slot.
  Slot Open(Shard& shard, HandshakeFacts facts) {
    HandshakeAnswer answer = shard.CheckHandshake(std::move(facts));
    if (answer.http_status != 101) {
      last_refusal = answer.http_status;
      return kRefused;
    }
    return Open(shard, std::move(answer.handshake));
  }
  Slot Open(Shard& shard, std::unique_ptr<Handshake> handshake) {
    Slot slot = static_cast<Slot>(sockets.size() + free_.size());
    if (!free_.empty()) {
      slot = free_.back();
      free_.pop_back();
    }
    sockets[slot];
    newest = shard.OnOpen(slot, std::move(handshake));
    return slot;
  }
  // So ends what was sent to it with a tracker.
  void EndTracked(Shard& shard, Slot slot, SendOutcome outcome) {
    for (const auto& tracker : std::exchange(sockets.at(slot).tracked, {})) {
      tracker->OnEnd(shard.connection_id(slot), outcome);
    }
  }
  // The socket ends.
  void Gone(Shard& shard, Slot slot) {
    EndTracked(shard, slot, SendOutcome::kGone);
    const Socket& socket = sockets.at(slot);
    shard.OnGone(slot, socket.closed ? static_cast<uint16_t>(socket.code)
                                     : kAbnormalClosure);
    sockets.erase(slot);
    free_.push_back(slot);
  }

  static constexpr Slot kRefused = ~Slot{0};
  int last_refusal = 0;
  ConnectionId newest;  // of the last Open that was not refused
  std::map<Slot, Socket> sockets;

 private:
  const FakeClock& clock_;
  TimerWheel wheel_;
  std::vector<Slot> free_;
  Mutex mu_;
  std::deque<absl::AnyInvocable<void()>> tasks_ ABSL_GUARDED_BY(mu_);
};

}  // namespace broker::testing
