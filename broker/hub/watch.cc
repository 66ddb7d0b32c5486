#include "broker/hub/watch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"

namespace broker {

// ---- the reader's end -----------------------------------------------------

void WatchFeed::PushSnapshot(size_t shard, uint64_t position,
                             const std::vector<ConnectionInfoPtr>& infos) {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    if (gate_.closed()) return;
    positions_[shard] = position;
    for (const ConnectionInfoPtr& info : infos) {
      events_.push_back({WatchEvent::Kind::kAdded, info, 0, shard, {}});
    }
    ready = gate_.Wake(!events_.empty());
  }
  if (ready) ready();
}

void WatchFeed::Push(WatchEvent event) {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    if (gate_.closed()) return;
    if (++live_ > kMaxUnread) {
      held_.clear();
      gate_.End(WithReason(
          absl::AbortedError(absl::StrCat(
              "the reader is ", kMaxUnread,
              " events behind: start again, with the last resume_token or "
              "without")),
          "WATCH_TOO_SLOW"));
    } else {
      (in_snapshot_ ? held_ : events_).push_back(std::move(event));
    }
    ready = gate_.Wake(!events_.empty());
  }
  if (ready) ready();
}

void WatchFeed::EndSnapshot() {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    if (gate_.closed()) return;
    in_snapshot_ = false;
    events_.push_back({WatchEvent::Kind::kSnapshotEnd, nullptr, 0, 0, {}});
    std::move(held_.begin(), held_.end(), std::back_inserter(events_));
    held_.clear();
    ready = gate_.Wake(!events_.empty());
  }
  if (ready) ready();
}

void WatchFeed::Fail(absl::Status status) {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    if (gate_.closed()) return;
    gate_.End(std::move(status));
    ready = gate_.Wake(!events_.empty());
  }
  if (ready) ready();
}

void WatchFeed::Cancel() {
  ReaderGate::Ready dropped;
  MutexLock lock(mu_);
  dropped = gate_.Cancel();
  events_.clear();
  held_.clear();
}

bool WatchFeed::cancelled() const {
  MutexLock lock(mu_);
  return gate_.closed();
}

void WatchFeed::NotifyWhenReady(absl::AnyInvocable<void()> ready) {
  ReaderGate::Ready now;
  {
    MutexLock lock(mu_);
    now = gate_.Wait(ready, !events_.empty());
  }
  if (now) now();
}

WatchFeed::Item WatchFeed::Next() {
  MutexLock lock(mu_);
  if (events_.empty()) return {std::nullopt, {}, gate_.end()};
  Item item{std::move(events_.front()), {}, std::nullopt};
  events_.pop_front();
  if (item.event->position) {
    --live_;
    positions_[item.event->shard] = *item.event->position;
  }
  if (item.event->position ||
      item.event->kind == WatchEvent::Kind::kSnapshotEnd) {
    item.positions = positions_;
  }
  return item;
}

// ---- the shard's end ------------------------------------------------------

void WatchLog::Record(ConnectionInfoPtr before, ConnectionInfoPtr after,
                      uint16_t close_code) {
  ++position_;
  changes_.push_back({std::move(before), std::move(after), close_code});
  if (changes_.size() > kMaxKept) changes_.pop_front();
  if (feeds_.empty()) return;
  std::erase_if(feeds_, [](const auto& feed) { return feed->cancelled(); });
  for (const auto& feed : feeds_) Tell(*feed, changes_.back(), position_);
}

void WatchLog::Tell(WatchFeed& feed, const Change& change,
                    uint64_t position) const {
  const bool was = feed.spec().Wants(change.before.get());
  const bool is = feed.spec().Wants(change.after.get());
  if (!was && !is) return;
  using Kind = WatchEvent::Kind;
  const Kind kind = !was                      ? Kind::kAdded
                    : is                      ? Kind::kUpdated
                    : change.after != nullptr ? Kind::kLeftFilter
                                              : Kind::kClosed;
  // What it has become is not for a reader who may not see it.
  const PredicatePtr& within = feed.spec().within;
  const bool shown = change.after != nullptr &&
                     (within == nullptr || within->Matches(*change.after));
  feed.Push({kind, shown ? change.after : change.before, change.close_code,
             shard_, position});
}

void WatchLog::Subscribe(std::shared_ptr<WatchFeed> feed) {
  feeds_.push_back(std::move(feed));
}

absl::Status WatchLog::SubscribeFrom(uint64_t position,
                                     std::shared_ptr<WatchFeed> feed) {
  const uint64_t oldest = position_ - changes_.size();
  if (position < oldest || position > position_) {
    return WithReason(
        absl::OutOfRangeError(absl::StrCat(
            "resume_token: more than ", kMaxKept,
            " changes have happened since: start again without it")),
        "RESUME_TOKEN_TOO_OLD");
  }
  for (uint64_t p = position + 1; p <= position_; ++p) {
    Tell(*feed, changes_[p - oldest - 1], p);
  }
  Subscribe(std::move(feed));
  return absl::OkStatus();
}

void WatchLog::FailAll(const absl::Status& status) {
  for (const auto& feed : feeds_) feed->Fail(status);
  feeds_.clear();
}

}  // namespace broker
