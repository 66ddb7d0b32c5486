#include "broker/core/clock.h"

#include <ctime>

namespace broker {
namespace {

class SystemClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
  MonotonicTime Monotonic() const override {
    // Unlike CLOCK_MONOTONIC it goes on while the machine is suspended, so no
    // ticket outlives its time to live by sleeping.
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return MonotonicTime(std::chrono::milliseconds(int64_t{now.tv_sec} * 1000 +
                                                   now.tv_nsec / 1'000'000));
  }
};

}  // namespace

const Clock& Clock::System() {
  static const SystemClock clock;
  return clock;
}

}  // namespace broker
