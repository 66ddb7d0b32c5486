#include "broker/session/outcome_tracker.h"

namespace broker {
namespace {

void Count(SendOutcome outcome, OutcomeTracker::Ends& ends) {
  switch (outcome) {
    case SendOutcome::kWritten:
      ++ends.written;
      return;
    case SendOutcome::kExpired:
      ++ends.expired;
      return;
    case SendOutcome::kDroppedSlow:
      ++ends.dropped_slow;
      return;
    case SendOutcome::kGone:
    case SendOutcome::kUnfit:
    case SendOutcome::kQueued:  // is no end
      ++ends.gone;
      return;
  }
}

}  // namespace

void OutcomeTracker::OnEnd(const ConnectionId& id, SendOutcome outcome) {
  Done done;
  Ends ends;
  {
    MutexLock lock(mu_);
    ++ended_;
    Count(outcome, ends_);
    if (keep_each_) ends_.each.emplace_back(id, outcome);
    if (!done_ || ended_ < awaited_) return;
    done = std::exchange(done_, nullptr);
    ends = std::move(ends_);
  }
  // Without the lock: a callback may call anything.
  done(std::move(ends));
}

void OutcomeTracker::Await(uint64_t queued, Done done) {
  Ends ends;
  {
    MutexLock lock(mu_);
    if (ended_ < queued) {
      awaited_ = queued;
      done_ = std::move(done);
      return;
    }
    ends = std::move(ends_);
  }
  done(std::move(ends));
}

}  // namespace broker
