// ReaderGate: how a feed's reader waits for what comes next, and how the feed
// ends. A part of its feed, and guarded by the feed's lock. What its methods
// return is called, or dropped, without that lock.

#pragma once

#include <optional>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"

namespace broker {

class ReaderGate {
 public:
  using Ready = absl::AnyInvocable<void()>;

  // Nothing more is to be put into the feed.
  bool closed() const { return cancelled_ || end_.has_value(); }
  // Why the feed ends; unset: it goes on.
  const std::optional<absl::Status>& end() const { return end_; }

  // Not of a feed that is closed.
  void End(absl::Status status) { end_ = std::move(status); }
  // The reader wants no more. Returns what would have called it.
  Ready Cancel() {
    cancelled_ = true;
    return std::exchange(ready_, nullptr);
  }

  // The reader's call, when there is something for it, or the end: to be made.
  Ready Wake(bool has_next) {
    if (!has_next && !end_) return nullptr;
    return std::exchange(ready_, nullptr);
  }
  // Keeps the call until Wake; returns it when it is to be made at once. What
  // the reader has cancelled stays with the caller.
  Ready Wait(Ready& ready, bool has_next) {
    if (cancelled_) return nullptr;
    ready_ = std::move(ready);
    return Wake(has_next);
  }

 private:
  bool cancelled_ = false;
  std::optional<absl::Status> end_;
  Ready ready_;
};

}  // namespace broker
