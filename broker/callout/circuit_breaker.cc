#include "broker/callout/circuit_breaker.h"

namespace broker {

void CircuitBreaker::Enter(State state) {
  state_ = state;
  ++changes_;
  failures_ = 0;
}

std::optional<CircuitBreaker::Permit> CircuitBreaker::Ask(MonotonicTime now) {
  MutexLock lock(mu_);
  switch (state_) {
    case State::kClosed:
      return changes_;
    case State::kOpen:
      if (now < open_until_) return std::nullopt;
      Enter(State::kHalfOpen);
      return changes_;
    case State::kHalfOpen:
      return std::nullopt;  // One call is trying.
  }
  return std::nullopt;
}

CircuitBreaker::Change CircuitBreaker::Report(Permit permit, bool ok,
                                              MonotonicTime now) {
  MutexLock lock(mu_);
  if (permit != changes_) return Change::kNone;
  if (ok && state_ == State::kClosed) {
    failures_ = 0;
  } else if (ok) {
    Enter(State::kClosed);
    return Change::kClosed;
  } else if (state_ == State::kHalfOpen || ++failures_ == failures_to_open_) {
    Enter(State::kOpen);
    open_until_ = now + pause_;
    return Change::kOpened;
  }
  return Change::kNone;
}

CircuitBreaker::State CircuitBreaker::state() const {
  MutexLock lock(mu_);
  return state_;
}

}  // namespace broker
