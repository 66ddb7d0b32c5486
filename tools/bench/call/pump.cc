#include "tools/bench/call/pump.h"

#include <chrono>

#include "tools/bench/common/payload.h"

namespace bench {

Pump::Pump(Source& source, const PumpOptions& options)
    : source_(source),
      options_(options),
      start_ns_(NowNs()),
      stop_ns_(start_ns_ + static_cast<uint64_t>(options.limit_seconds * 1e9)) {
  for (size_t slot = options.flight; slot > 0; --slot)
    free_.push_back(slot - 1);
}

PumpResult Pump::Run() {
  std::unique_lock<std::mutex> lock(mu_);
  result_.start_ns = start_ns_;
  if (options_.rate > 0) {
    IssuePaced(lock);
  } else if (options_.bursts) {
    IssueBursts(lock);
  } else {
    for (size_t slot = 0; slot < options_.flight && More(); ++slot) {
      free_.pop_back();
      IssueFrom(slot, lock);
    }
  }
  // Calls have deadlines, so this ends. Who has started the last call may be in
  // there still when it is answered.
  changed_.wait(lock, [this] {
    return free_.size() == options_.flight && starting_ == 0;
  });
  result_.end_ns = NowNs();
  return result_;
}

bool Pump::More() const {
  return issued_ < options_.count && NowNs() < stop_ns_;
}

void Pump::IssueFrom(size_t slot, std::unique_lock<std::mutex>& lock) {
  const uint64_t index = issued_++;
  ++starting_;
  lock.unlock();
  const uint64_t now = NowNs();
  source_.Start(slot, index, [this, slot, now](const Outcome& outcome) {
    OnDone(slot, now, outcome);
  });
  lock.lock();
  // Under the lock: Run may end, and this be gone, as soon as it is released.
  --starting_;
  changed_.notify_one();
}

void Pump::OnDone(size_t slot, uint64_t started_ns, const Outcome& outcome) {
  const uint64_t now = NowNs();
  std::unique_lock<std::mutex> lock(mu_);
  ++result_.done;
  if (!outcome.error.empty() && result_.failed++ == 0) {
    result_.first_error = outcome.error;
  }
  result_.sum.matched += outcome.matched;
  result_.sum.queued += outcome.queued;
  result_.sum.dropped += outcome.dropped;
  result_.sum.closed += outcome.closed;
  result_.latency_ns.Add(now - started_ns);
  const bool steady = options_.rate <= 0 && !options_.bursts;
  if (steady && More()) return IssueFrom(slot, lock);
  free_.push_back(slot);
  changed_.notify_one();
}

void Pump::IssuePaced(std::unique_lock<std::mutex>& lock) {
  while (More()) {
    const auto due =
        start_ns_ + static_cast<uint64_t>(static_cast<double>(issued_) /
                                          options_.rate * 1e9);
    const uint64_t now = NowNs();
    if (now < due || free_.empty()) {
      const uint64_t wait = now < due ? due - now : 1'000'000'000;
      changed_.wait_for(lock, std::chrono::nanoseconds(wait));
      continue;
    }
    const size_t slot = free_.back();
    free_.pop_back();
    IssueFrom(slot, lock);
  }
}

void Pump::IssueBursts(std::unique_lock<std::mutex>& lock) {
  while (More()) {
    while (!free_.empty() && More()) {
      const size_t slot = free_.back();
      free_.pop_back();
      IssueFrom(slot, lock);
    }
    changed_.wait(lock, [this] { return free_.size() == options_.flight; });
  }
}

}  // namespace bench
