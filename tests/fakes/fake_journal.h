// FakeJournal: a journal in memory that writes when the test says so.

#pragma once

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "broker/hub/journal.h"

namespace broker::testing {

class FakeJournal final : public Journal {
 public:
  void Append(FencePtr fence, Written written) override {
    waiting_.push_back({{fence}, {}, 0, std::move(written)});
  }
  void Erase(std::vector<FencePtr> fences, uint64_t oldest_epoch,
             Written written) override {
    waiting_.push_back(
        {{}, std::move(fences), oldest_epoch, std::move(written)});
  }

  size_t waiting() const { return waiting_.size(); }
  // What waits is written, or is not, and said to be so.
  void Write(const absl::Status& status = absl::OkStatus()) {
    for (Change& change : std::exchange(waiting_, {})) {
      if (status.ok()) Apply(change);
      change.written(status);
    }
  }
  // The process is gone: what waits is lost, and nobody is told.
  void Crash() { waiting_.clear(); }

  // What a run that begins now finds; the first one's epochs are the oldest.
  JournalPast Past(const Clock& clock) {
    JournalPast past = JournalPast::None(clock);
    if (oldest_epoch_ == 0) oldest_epoch_ = past.oldest_epoch;
    past.oldest_epoch = oldest_epoch_;
    for (const auto& [epoch, fence] : fences_) {
      past.fences.push_back(fence);
      past.first_epoch = std::max(past.first_epoch, epoch + 1);
    }
    return past;
  }
  const std::map<uint64_t, FencePtr>& fences() const { return fences_; }

 private:
  struct Change {
    std::vector<FencePtr> append;
    std::vector<FencePtr> erase;
    uint64_t oldest_epoch;
    Written written;
  };
  void Apply(const Change& change) {
    for (const FencePtr& fence : change.append) fences_[fence->epoch] = fence;
    for (const FencePtr& fence : change.erase) fences_.erase(fence->epoch);
    oldest_epoch_ = std::max(oldest_epoch_, change.oldest_epoch);
  }

  std::vector<Change> waiting_;
  std::map<uint64_t, FencePtr> fences_;
  uint64_t oldest_epoch_ = 0;
};

}  // namespace broker::testing
