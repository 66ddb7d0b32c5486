// Clock: the time, as a port, so that tests need no sleep.

#pragma once

#include <chrono>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace broker {

// A point on a clock that only goes forward, in milliseconds. Deadlines are
// kept on it, so that setting the wall clock revives no ticket.
using MonotonicTime = std::chrono::time_point<std::chrono::steady_clock,
                                              std::chrono::milliseconds>;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  // The wall clock, for people and for `expires_at`.
  virtual absl::Time Now() const = 0;
  virtual MonotonicTime Monotonic() const = 0;

  // The machine's clocks.
  static const Clock& System();
};

}  // namespace broker
