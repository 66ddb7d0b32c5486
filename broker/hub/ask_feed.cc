#include "broker/hub/ask_feed.h"

namespace broker {

void AskFeed::OnGiveUp(absl::AnyInvocable<void()> give_up) {
  MutexLock lock(mu_);
  give_up_ = std::move(give_up);
}

void AskFeed::Expect(uint64_t outcomes) {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    expected_ = outcomes;
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
}

void AskFeed::Add(Outcome outcome) {
  ReaderGate::Ready ready;
  absl::AnyInvocable<void()> give_up;
  {
    MutexLock lock(mu_);
    const bool result = outcome.outcome.kind == AskOutcome::Kind::kResult;
    if (result && ++results_ == enough_) {
      given_up_ = true;
      give_up = std::exchange(give_up_, nullptr);
    }
    if (!gate_.closed()) outcomes_.push_back(std::move(outcome));
    ready = gate_.Wake(HasNext());
  }
  if (give_up) give_up();
  if (ready) ready();
}

void AskFeed::Fail(absl::Status status) {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    if (gate_.closed()) return;
    gate_.End(std::move(status));
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
}

bool AskFeed::given_up() const {
  MutexLock lock(mu_);
  return given_up_;
}

void AskFeed::Cancel() {
  ReaderGate::Ready dropped;
  absl::AnyInvocable<void()> give_up;
  {
    MutexLock lock(mu_);
    dropped = gate_.Cancel();
    given_up_ = true;
    give_up = std::exchange(give_up_, nullptr);
  }
  if (give_up) give_up();
}

void AskFeed::NotifyWhenReady(absl::AnyInvocable<void()> ready) {
  ReaderGate::Ready now;
  {
    MutexLock lock(mu_);
    now = gate_.Wait(ready, HasNext());
  }
  if (now) now();
}

AskFeed::Next AskFeed::TakeNext() {
  Next next;
  MutexLock lock(mu_);
  next.end = gate_.end();
  if (next.end) return next;
  if (!outcomes_.empty()) {
    next.outcome = std::move(outcomes_.front());
    outcomes_.pop_front();
    ++taken_;
  } else if (expected_ && *expected_ == taken_) {
    next.end = absl::OkStatus();
  }
  return next;
}

}  // namespace broker
