#include "broker/core/timer_wheel.h"

#include <algorithm>

namespace broker {

void Timer::Cancel() {
  if (!armed()) return;
  Unlink();
  --wheel_->armed_;
  fire_ = nullptr;
}

void TimerWheel::Arm(Timer& timer, MonotonicTime deadline,
                     std::function<void()> fire) {
  timer.Cancel();
  timer.wheel_ = this;
  timer.fire_ = std::move(fire);
  // Rounded up, so that it never fires early; not before the next tick, since
  // the current one is over.
  timer.due_ = std::max(ToTick(deadline + kTick - std::chrono::milliseconds(1)),
                        now_ + 1);
  timer.InsertBefore(slots_[timer.due_ % kSlots]);
  if (++armed_ == 1 && wake_) wake_();
}

void TimerWheel::Advance(MonotonicTime now) {
  const int64_t end = ToTick(now);
  // After a long sleep one turn visits every slot; more turns would find
  // nothing new.
  now_ = std::max(now_, end - kSlots);
  while (now_ < end) {
    ++now_;
    Expire(slots_[now_ % kSlots]);
  }
}

void TimerWheel::Expire(internal::TimerLink& slot) {
  if (!slot.linked()) return;
  // Moved aside: a callback may arm and cancel anything, what is still in this
  // list too.
  internal::TimerLink todo;
  todo.InsertBefore(slot);
  slot.Unlink();
  while (todo.linked()) {
    auto& timer = static_cast<Timer&>(*todo.next);
    timer.Unlink();
    if (timer.due_ > now_) {  // Of a later turn.
      timer.InsertBefore(slot);
      continue;
    }
    --armed_;
    const std::function<void()> fire = std::exchange(timer.fire_, nullptr);
    fire();
  }
}

}  // namespace broker
