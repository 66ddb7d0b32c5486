// Watching connections. A WatchLog is a shard's end: it keeps the last changes
// and tells them to every watch that they concern. A WatchFeed is a reader's
// end: what all shards told it, bounded.

#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "broker/core/identity.h"
#include "broker/core/mutex.h"
#include "broker/filter/predicate.h"
#include "broker/hub/reader_gate.h"
#include "broker/registry/registry.h"

namespace broker {

struct WatchEvent {
  enum class Kind { kAdded, kUpdated, kClosed, kLeftFilter, kSnapshotEnd };
  Kind kind = Kind::kAdded;
  ConnectionInfoPtr info;
  uint16_t close_code = 0;  // kClosed: on the wire
  // Where it stands in its shard's log; no position within the snapshot.
  size_t shard = 0;
  std::optional<uint64_t> position;
};

// What a reader is interested in.
struct WatchSpec {
  std::string ns;
  PredicatePtr predicate;
  States states = States::All();
  // Part of the predicate: what the reader may not see outside of. May be null.
  PredicatePtr within;

  bool Wants(const ConnectionInfo* info) const {
    return info != nullptr && info->ns == ns && states.Has(info->state) &&
           predicate->Matches(*info);
  }
};

// Thread-safe.
class WatchFeed {
 public:
  // A reader that is so many events behind is ended.
  static constexpr size_t kMaxUnread = 10'000;

  // With a snapshot, for as many shards.
  WatchFeed(WatchSpec spec, size_t shards)
      : spec_(std::move(spec)), in_snapshot_(true), positions_(shards) {}
  // Resumed behind these positions, one for each shard.
  WatchFeed(WatchSpec spec, std::vector<uint64_t> positions)
      : spec_(std::move(spec)),
        in_snapshot_(false),
        positions_(std::move(positions)) {}

  const WatchSpec& spec() const { return spec_; }

  // By the shards. Live events wait until the snapshot is complete.
  // `position` is that of the shard's log at the snapshot.
  void PushSnapshot(size_t shard, uint64_t position,
                    const std::vector<ConnectionInfoPtr>& infos);
  void Push(WatchEvent event);
  void EndSnapshot();
  // Ends the feed: the reader gets what is there, then the status.
  void Fail(absl::Status status);

  // By the reader. Cancel: it wants no more.
  void Cancel();
  bool cancelled() const;
  // Calls `ready` once, on any thread, when Next would not be empty-handed;
  // at once when that is so already.
  void NotifyWhenReady(absl::AnyInvocable<void()> ready);
  // The next event, the status of a failed feed that is read up, or neither.
  // `positions` are those of the shards behind the event; empty within the
  // snapshot.
  struct Item {
    std::optional<WatchEvent> event;
    std::vector<uint64_t> positions;
    std::optional<absl::Status> end;
  };
  Item Next();

 private:
  const WatchSpec spec_;
  mutable Mutex mu_;
  bool in_snapshot_ ABSL_GUARDED_BY(mu_);
  ReaderGate gate_ ABSL_GUARDED_BY(mu_);
  std::deque<WatchEvent> events_ ABSL_GUARDED_BY(mu_);
  std::deque<WatchEvent> held_ ABSL_GUARDED_BY(mu_);  // live, during snapshot
  size_t live_ ABSL_GUARDED_BY(mu_) = 0;  // of both, those not in the snapshot
  std::vector<uint64_t> positions_ ABSL_GUARDED_BY(mu_);
};

// Confined to its shard's thread.
class WatchLog {
 public:
  // So many changes can be resumed behind.
  static constexpr size_t kMaxKept = 10'000;

  explicit WatchLog(size_t shard) : shard_(shard) {}

  // A change: null `before` is a new connection, null `after` one that is gone,
  // with the close code that was on the wire.
  void Record(ConnectionInfoPtr before, ConnectionInfoPtr after,
              uint16_t close_code = 0);

  // Tells the feed of every change from now on.
  void Subscribe(std::shared_ptr<WatchFeed> feed);
  // The same, from behind that position on. OUT_OF_RANGE when what came after
  // it is no longer kept.
  absl::Status SubscribeFrom(uint64_t position,
                             std::shared_ptr<WatchFeed> feed);
  // The position of the newest change; 0 before the first.
  uint64_t position() const { return position_; }
  // Ends all feeds.
  void FailAll(const absl::Status& status);

 private:
  struct Change {
    ConnectionInfoPtr before;
    ConnectionInfoPtr after;
    uint16_t close_code;
  };
  void Tell(WatchFeed& feed, const Change& change, uint64_t position) const;

  const size_t shard_;
  uint64_t position_ = 0;
  std::deque<Change> changes_;  // the last is at position_
  std::vector<std::shared_ptr<WatchFeed>> feeds_;
};

}  // namespace broker
