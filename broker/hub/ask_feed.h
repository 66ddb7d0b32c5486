// AskFeed: the outcomes of a request to many clients, as they come. Filled by
// the shards, read by the call's stream.
//
// Thread-safe.

#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "broker/core/ids.h"
#include "broker/core/mutex.h"
#include "broker/hub/commands.h"
#include "broker/hub/reader_gate.h"

namespace broker {

class AskFeed {
 public:
  // `enough`: that many results are wanted, 0: all.
  AskFeed(uint64_t enough, size_t shards) : enough_(enough), asked_(shards) {}
  // Called once, on any thread, when they are there, or the reader has gone.
  // Before anybody is asked.
  void OnGiveUp(absl::AnyInvocable<void()> give_up);

  struct Outcome {
    ConnectionId id;
    AskOutcome outcome;
  };

  // ---- by the hub and the shards ----

  // So many outcomes will come.
  void Expect(uint64_t outcomes);
  void Add(Outcome outcome);
  void Fail(absl::Status status);
  // Whether nobody is to be asked any more.
  bool given_up() const;
  // What a shard has asked, confined to it.
  using Asked = std::vector<std::pair<ConnectionId, uint64_t>>;
  Asked& asked(size_t shard) { return asked_[shard]; }

  // ---- by the reader ----

  void Cancel();
  // Calls `ready` once, on any thread, when Next would not be empty-handed; at
  // once when that is so already.
  void NotifyWhenReady(absl::AnyInvocable<void()> ready);
  // The next outcome, or how it ends: OK when all have come.
  struct Next {
    std::optional<Outcome> outcome;
    std::optional<absl::Status> end;
  };
  Next TakeNext();

 private:
  bool HasNext() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return !outcomes_.empty() || (expected_ && *expected_ == taken_);
  }

  const uint64_t enough_;
  mutable Mutex mu_;
  ReaderGate gate_ ABSL_GUARDED_BY(mu_);
  absl::AnyInvocable<void()> give_up_ ABSL_GUARDED_BY(mu_);
  bool given_up_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Outcome> outcomes_ ABSL_GUARDED_BY(mu_);
  std::optional<uint64_t> expected_ ABSL_GUARDED_BY(mu_);
  uint64_t taken_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t results_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<Asked> asked_;
};

using AskFeedPtr = std::shared_ptr<AskFeed>;

}  // namespace broker
