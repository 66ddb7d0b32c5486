// Fence: the trace of a revocation; and FenceSet: those that a shard holds
// bindings against.
//
// A Fence is immutable and shared by all shards. A FenceSet is confined to its
// shard's thread.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "broker/core/clock.h"
#include "broker/core/identity.h"
#include "broker/core/ids.h"
#include "broker/filter/predicate.h"

namespace broker {

// What a revocation covers: one session, account or API token by its key, or
// whatever a filter matches; of that only what is within the reach of who
// revokes.
struct RevocationTarget {
  enum class Kind { kSession, kAccount, kToken, kFilter };
  Kind kind = Kind::kSession;
  std::string key;                             // unless kFilter
  std::optional<std::string> keep_token_hash;  // kAccount only: spared
  PredicatePtr predicate;                      // kFilter only
  std::vector<std::string> namespaces;         // empty: every namespace
  PredicatePtr within;                         // null: no further restriction

  bool CoversNamespace(absl::string_view ns) const;
  bool Covers(const ConnectionInfo& connection) const;
};

struct Fence {
  Uuid id;
  RevocationTarget target;
  // Refuses what was verified before it, that is, at a smaller epoch.
  uint64_t epoch = 0;
  absl::Time create_time;
  // Until then it refuses whatever the epoch. Always set for kFilter, which
  // refuses nothing afterwards.
  std::optional<MonotonicTime> blocks_until;
  std::optional<absl::Time> block_until_wall;  // the same, to be shown
  MonotonicTime forget_at;
  absl::Time forget_at_wall;  // the same, to be shown

  bool Refuses(const ConnectionInfo& connection, uint64_t verified_at_epoch,
               MonotonicTime now) const;
  // Whether the close that leaves it behind closes a connection that its target
  // covers: by key, what it refuses; by filter, all.
  bool Closes(const ConnectionInfo& connection, uint64_t verified_at_epoch,
              MonotonicTime now) const;
};

using FencePtr = std::shared_ptr<const Fence>;

class FenceSet {
 public:
  // No two have the same epoch.
  void Add(FencePtr fence);
  void Remove(const Fence& fence);

  // A fence that refuses to bind `connection.identity`, verified at that epoch;
  // null when none does.
  const Fence* FindRefusing(const ConnectionInfo& connection,
                            uint64_t verified_at_epoch,
                            MonotonicTime now) const;
  // A filter fence that a change turned the connection into a match of; null
  // when there is none.
  const Fence* FindFilterEntered(const ConnectionInfo& before,
                                 const ConnectionInfo& after,
                                 MonotonicTime now) const;
  size_t size() const { return size_; }

 private:
  // The fences of one key: a login asks those that are newer than it, and those
  // that block still, however many there are.
  struct OfKey {
    absl::btree_map<uint64_t, FencePtr> by_epoch;
    // Of those, the ones that block, by when they cease to.
    absl::btree_map<std::pair<MonotonicTime, uint64_t>, FencePtr> blocking;

    bool Add(FencePtr fence);
    bool Remove(const Fence& fence);
    const Fence* FindRefusing(const ConnectionInfo& connection,
                              uint64_t verified_at_epoch,
                              MonotonicTime now) const;
  };
  using ByKey = absl::flat_hash_map<std::string, OfKey>;
  ByKey& KeysOf(RevocationTarget::Kind kind);

  ByKey by_session_;
  ByKey by_account_;
  ByKey by_token_;
  std::vector<FencePtr> filters_;
  size_t size_ = 0;
};

}  // namespace broker
