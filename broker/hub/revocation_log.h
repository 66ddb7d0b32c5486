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
#include "broker/registry/fence.h"
#include "broker/registry/reach.h"

namespace broker {

class RevocationLog {
 public:
  // A fence by key is forgotten after this; older epochs are refused then, so
  // that forgetting lets nothing through.
  static constexpr absl::Duration kRetention = absl::Hours(24);
  // Likewise when there are more: the oldest go first.
  static constexpr size_t kMaxFences = 200'000;
  // Filters are asked at every admission one by one, so these are few.
  static constexpr size_t kMaxFilterFences = 1'000;

  // Epochs start at the Unix time in microseconds, so that no epoch of an
  // earlier run is ahead of this one's.
  explicit RevocationLog(const Clock& clock);

  struct Recorded {
    FencePtr fence;
    // What was forgotten to make room; drop them from the FenceSets too.
    std::vector<FencePtr> forgotten;
  };
  // Records a fence at the next epoch. A filter over the limit, or a key that
  // blocks over it: RESOURCE_EXHAUSTED.
  absl::StatusOr<Recorded> Record(RevocationTarget target,
                                  std::optional<absl::Duration> block_for);
  // Takes a fence back: NOT_FOUND when it does not stand, or is out of reach.
  absl::StatusOr<FencePtr> Lift(const Uuid& id, const Reach* within = nullptr);
  // Forgets what has run its time, and returns it.
  std::vector<FencePtr> ForgetExpired();

  // Up to `limit` fences behind `after` (in the order of epochs; 0: from the
  // start), that hold in the namespace and are within reach.
  std::vector<FencePtr> Page(const std::optional<std::string>& ns,
                             uint64_t after, size_t limit,
                             const Reach* within = nullptr) const;

  // Whether a binding may carry that epoch: INVALID_ARGUMENT for one that is
  // ahead, FAILED_PRECONDITION EPOCH_TOO_OLD for one older than is remembered.
  absl::Status CheckEpoch(uint64_t verified_at_epoch) const;

  // The epoch of the newest fence.
  uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }
  // The oldest epoch that a binding may carry.
  uint64_t oldest_epoch() const {
    return oldest_epoch_.load(std::memory_order_acquire);
  }

 private:
  void Forget(absl::btree_map<uint64_t, FencePtr>::iterator it,
              std::vector<FencePtr>& forgotten)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetExpired(std::vector<FencePtr>& forgotten)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Clock& clock_;
  std::atomic<uint64_t> epoch_;
  std::atomic<uint64_t> oldest_epoch_;
  mutable Mutex mu_;
  absl::btree_map<uint64_t, FencePtr> fences_ ABSL_GUARDED_BY(mu_);
  size_t blocking_ ABSL_GUARDED_BY(mu_) = 0;
  size_t filters_ ABSL_GUARDED_BY(mu_) = 0;
  // When the earliest fence may have run its time.
  MonotonicTime next_expiry_ ABSL_GUARDED_BY(mu_) = MonotonicTime::max();
};

}  // namespace broker
