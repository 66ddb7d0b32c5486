// RevocationLog: the fences that stand, in the order of their epochs, and the
// epochs themselves.
//
// Thread-safe: it is shared by the shards, and therefore locked. The shards
// keep what they ask at handshakes in a FenceSet of their own.

#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "broker/core/clock.h"
#include "broker/core/mutex.h"
#include "broker/hub/journal.h"
#include "broker/registry/fence.h"
#include "broker/registry/reach.h"

namespace broker {

class RevocationLog {
 public:
  // When there are more, the oldest by key are forgotten before their time.
  static constexpr size_t kMaxFences = 200'000;
  // Filters are asked at every admission one by one, so these are few.
  static constexpr size_t kMaxFilterFences = 1'000;

  // Without a journal fences last as long as this object. The journal must
  // outlive it.
  RevocationLog(const Clock& clock, absl::Duration retention, JournalPast past,
                Journal* journal);

  // How long a fence by key is remembered, from now on; older epochs are
  // refused afterwards, so that forgetting lets nothing through.
  void SetRetention(absl::Duration retention);

  struct Recorded {
    FencePtr fence;
    // What was forgotten meanwhile; drop them from the FenceSets too.
    std::vector<FencePtr> forgotten;
  };
  // Records a fence at the next epoch. It holds at once; `written` is told when
  // it is in the journal, or without one before this returns. A filter over the
  // limit, or a key that blocks over it: RESOURCE_EXHAUSTED, and `written` is
  // dropped.
  absl::StatusOr<Recorded> Record(RevocationTarget target,
                                  std::optional<absl::Duration> block_for,
                                  Journal::Written written);
  // Takes a fence back: NOT_FOUND when it does not stand, or is out of reach.
  // `written` as above.
  absl::StatusOr<FencePtr> Lift(const Uuid& id, Journal::Written written,
                                const Reach* within = nullptr);
  // Whether it was neither lifted nor forgotten since it was recorded.
  bool Stands(const Fence& fence) const;

  // Up to `limit` fences behind `after` (in the order of epochs; 0: from the
  // start), that hold in the namespace and are within reach.
  std::vector<FencePtr> Page(const std::optional<std::string>& ns,
                             uint64_t after, size_t limit,
                             const Reach* within = nullptr) const;
  std::vector<FencePtr> All() const { return Page(std::nullopt, 0, SIZE_MAX); }

  // Whether a binding may carry that epoch: INVALID_ARGUMENT EPOCH_AHEAD for
  // one that this broker has not given out yet, FAILED_PRECONDITION
  // EPOCH_TOO_OLD for one older than is remembered.
  absl::Status CheckEpoch(uint64_t verified_at_epoch) const;

  // The epoch of the newest fence.
  uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }
  // The oldest epoch that a binding may carry.
  uint64_t oldest_epoch() const {
    return oldest_epoch_.load(std::memory_order_acquire);
  }

 private:
  using Fences = absl::btree_map<uint64_t, FencePtr>;

  FencePtr MakeFence(RevocationTarget target,
                     std::optional<absl::Duration> block_for, uint64_t epoch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckRoom(const RevocationTarget& target, bool blocks) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Insert(FencePtr fence) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Fences::iterator Erase(Fences::iterator it)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Fences::iterator Forget(Fences::iterator it)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetExpired() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EraseFromJournal(std::vector<FencePtr> fences)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Clock& clock_;
  Journal* const journal_;  // called with the lock held, for its order
  std::atomic<uint64_t> epoch_;
  std::atomic<uint64_t> oldest_epoch_;
  mutable Mutex mu_;
  absl::Duration retention_ ABSL_GUARDED_BY(mu_);
  Fences fences_ ABSL_GUARDED_BY(mu_);
  // Not told to the FenceSets yet.
  std::vector<FencePtr> forgotten_ ABSL_GUARDED_BY(mu_);
  size_t blocking_ ABSL_GUARDED_BY(mu_) = 0;
  size_t filters_ ABSL_GUARDED_BY(mu_) = 0;
  // When the earliest fence may have run its time.
  MonotonicTime next_expiry_ ABSL_GUARDED_BY(mu_) = MonotonicTime::max();
};

}  // namespace broker
