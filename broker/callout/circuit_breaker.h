// CircuitBreaker: keeps calls away from somebody who answers none. After so
// many failures in a row it opens for a while; then one call may try, and its
// result closes it or opens it again.
//
// Thread-safe.

#pragma once

#include <cstdint>
#include <optional>

#include "broker/core/clock.h"
#include "broker/core/mutex.h"

namespace broker {

class CircuitBreaker {
 public:
  enum class State { kClosed, kOpen, kHalfOpen };

  // With 0 failures it never opens.
  CircuitBreaker(uint32_t failures_to_open, MonotonicTime::duration pause)
      : failures_to_open_(failures_to_open), pause_(pause) {}

  // A permit for one call, to be given back by Report; none while it is open.
  using Permit = uint64_t;
  std::optional<Permit> Ask(MonotonicTime now);

  // How the call went. Nothing changes by a call from before the state did.
  enum class Change { kNone, kOpened, kClosed };
  Change Report(Permit permit, bool ok, MonotonicTime now);

  State state() const;

 private:
  void Enter(State state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const uint32_t failures_to_open_;
  const MonotonicTime::duration pause_;
  mutable Mutex mu_;
  State state_ ABSL_GUARDED_BY(mu_) = State::kClosed;
  uint64_t changes_ ABSL_GUARDED_BY(mu_) = 0;   // of state
  uint32_t failures_ ABSL_GUARDED_BY(mu_) = 0;  // in a row, while closed
  MonotonicTime open_until_ ABSL_GUARDED_BY(mu_){};
};

}  // namespace broker
