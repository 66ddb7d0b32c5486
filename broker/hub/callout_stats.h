// CalloutStats: what is counted of callouts, for /metrics. Thread-safe.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>

#include "broker/core/metrics.h"
#include "broker/core/mutex.h"

namespace broker {

enum class CalloutResult : size_t {
  kAdmitted,
  kRefused,
  kDeadline,  // no answer in time
  kFailed,    // another error
  kInvalid,   // an answer that cannot be taken
  kBusy,      // not asked: too many callouts are under way
  kOpen,      // not asked: the circuit breaker is open
};

class CalloutStats {
 public:
  static constexpr std::array<const char*, 7> kNames = {
      "admitted", "refused", "deadline", "failed", "invalid", "busy", "open"};

  void Add(CalloutResult result) {
    results_[static_cast<size_t>(result)].Add();
  }
  // How long an answer took, or the lack of one.
  void Observe(double seconds) {
    MutexLock lock(mu_);
    seconds_.Observe(seconds);
  }
  void SetBreakerOpen(bool open) { breaker_open_ = open; }

  uint64_t count(size_t result) const { return results_[result].value(); }
  const Histogram& seconds() const { return seconds_; }
  bool breaker_open() const { return breaker_open_; }

 private:
  std::array<SharedCounter, kNames.size()> results_;
  Mutex mu_;  // of the writers
  Histogram seconds_;
  std::atomic<bool> breaker_open_{false};
};

}  // namespace broker
