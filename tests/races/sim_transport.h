// SimTransport: the sockets of one shard, as the simulation has them. It passes
// on what the shard does.

#pragma once

#include <optional>

#include "broker/hub/transport.h"

namespace broker::races {

// The simulation's side.
class SocketWorld {
 public:
  virtual ~SocketWorld() = default;
  virtual void Posted(size_t shard, absl::AnyInvocable<void()> task) = 0;
  virtual SendResult Sent(size_t shard, Slot slot, const FramePtr& frame) = 0;
  virtual void Closed(size_t shard, Slot slot, CloseCode code, bool drains) = 0;
};

class SimTransport final : public Transport {
 public:
  SimTransport(SocketWorld& world, size_t shard)
      : world_(world), shard_(shard) {}

  void Start(MonotonicTime now) { wheel_.emplace(now); }
  void Advance(MonotonicTime now) { wheel_->Advance(now); }

  void Post(absl::AnyInvocable<void()> task) override {
    world_.Posted(shard_, std::move(task));
  }
  TimerWheel& timers() override { return *wheel_; }
  void Send(absl::Span<const Slot> slots, const FramePtr& frame,
            SendResult* results) override {
    for (size_t i = 0; i < slots.size(); ++i) {
      results[i] = world_.Sent(shard_, slots[i], frame);
    }
  }
  void Close(Slot slot, CloseCode code, absl::Duration drain_for) override {
    world_.Closed(shard_, slot, code, drain_for > absl::ZeroDuration());
  }
  void CloseWithReason(Slot slot, CloseCode code, absl::string_view) override {
    world_.Closed(shard_, slot, code, /*drains=*/false);
  }
  void SetReading(Slot, bool) override {}
  OutboxBytes Outbox(Slot) const override { return {}; }

 private:
  SocketWorld& world_;
  const size_t shard_;
  std::optional<TimerWheel> wheel_;
};

}  // namespace broker::races
