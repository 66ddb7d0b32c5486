// FakeClock: time that passes when a test says so.

#pragma once

#include "broker/core/clock.h"

namespace broker::testing {

class FakeClock final : public Clock {
 public:
  absl::Time Now() const override { return now_; }
  MonotonicTime Monotonic() const override { return monotonic_; }

  // The wall clock alone, as an operator does.
  void SetWall(absl::Time now) { now_ = now; }
  void Advance(absl::Duration d) {
    now_ += d;
    monotonic_ += std::chrono::milliseconds(absl::ToInt64Milliseconds(d));
  }

 private:
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
  MonotonicTime monotonic_{std::chrono::hours(1)};
};

}  // namespace broker::testing
