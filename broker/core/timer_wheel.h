// TimerWheel: many timers that rarely fire, one intrusive node each: arming and
// cancelling touch no heap and cost the same however many there are.
//
// Confined to one thread. It has no clock: whoever owns it calls Advance. A
// timer fires at its deadline or up to one tick later, never before.

#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <utility>

#include "broker/core/clock.h"

namespace broker {

class TimerWheel;

namespace internal {
// A node of a circular list; alone it is its own neighbour.
struct TimerLink {
  TimerLink* prev = this;
  TimerLink* next = this;
  bool linked() const { return next != this; }
  void Unlink() {
    prev->next = next;
    next->prev = prev;
    prev = next = this;
  }
  void InsertBefore(TimerLink& at) {
    prev = at.prev;
    next = &at;
    prev->next = this;
    at.prev = this;
  }
};
}  // namespace internal

// One timer. Its address must not change while it is armed; destroying it
// cancels it. A timer outlives neither its callback's captures nor the wheel.
class Timer : private internal::TimerLink {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { Cancel(); }

  void Cancel();
  bool armed() const { return linked(); }

 private:
  friend class TimerWheel;
  TimerWheel* wheel_ = nullptr;
  int64_t due_ = 0;  // in ticks
  std::function<void()> fire_;
};

class TimerWheel {
 public:
  static constexpr std::chrono::milliseconds kTick{50};

  explicit TimerWheel(MonotonicTime now) : now_(ToTick(now)) {}
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Arms, or arms anew. `fire` may arm and cancel any timer, this one too, and
  // may destroy this one.
  void Arm(Timer& timer, MonotonicTime deadline, std::function<void()> fire);

  // Fires all that is due at `now`.
  void Advance(MonotonicTime now);

  // Whether anything is armed: if not, nobody needs to call Advance until
  // something is.
  bool idle() const { return armed_ == 0; }

  // Called when the first timer is armed on an idle wheel.
  void OnWake(std::function<void()> wake) { wake_ = std::move(wake); }

 private:
  friend class Timer;
  static constexpr int kSlots = 1024;  // a turn is 51 s
  static int64_t ToTick(MonotonicTime at) {
    return at.time_since_epoch() / kTick;
  }
  void Expire(internal::TimerLink& slot);

  std::array<internal::TimerLink, kSlots> slots_;
  int64_t now_;  // the last tick that was expired
  size_t armed_ = 0;
  std::function<void()> wake_;
};

}  // namespace broker
