#include "broker/hub/revocation_log.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"

namespace broker {
namespace {

absl::Status LimitReached(size_t limit, absl::string_view what) {
  return WithReason(
      absl::ResourceExhaustedError(absl::StrCat(
          "there are ", limit, " ", what,
          " already, and no more are allowed: lift some, or let them expire")),
      "REVOCATION_LIMIT");
}

bool IsFilter(const RevocationTarget& target) {
  return target.kind == RevocationTarget::Kind::kFilter;
}

}  // namespace

JournalPast JournalPast::None(const Clock& clock) {
  const auto now = static_cast<uint64_t>(absl::ToUnixMicros(clock.Now()));
  return {now, now, {}};
}

RevocationLog::RevocationLog(const Clock& clock, absl::Duration retention,
                             JournalPast past, Journal* journal)
    : clock_(clock),
      journal_(journal),
      epoch_(past.first_epoch),
      oldest_epoch_(past.oldest_epoch),
      retention_(retention) {
  MutexLock lock(mu_);
  for (FencePtr& fence : past.fences) Insert(std::move(fence));
  ForgetExpired();
  forgotten_.clear();  // no FenceSet has them
}

void RevocationLog::SetRetention(absl::Duration retention) {
  MutexLock lock(mu_);
  retention_ = retention;
}

// ---- changes --------------------------------------------------------------

absl::StatusOr<RevocationLog::Recorded> RevocationLog::Record(
    RevocationTarget target, std::optional<absl::Duration> block_for,
    Journal::Written written) {
  Recorded recorded;
  {
    MutexLock lock(mu_);
    ForgetExpired();
    BROKER_RETURN_IF_ERROR(CheckRoom(target, block_for.has_value()));
    while (fences_.size() >= kMaxFences) {
      // There is one: what blocks is at most half of them.
      Forget(std::find_if(fences_.begin(), fences_.end(), [](const auto& e) {
        return !e.second->blocks_until;
      }));
      EraseFromJournal({forgotten_.back()});
    }
    recorded.forgotten = std::exchange(forgotten_, {});
    const uint64_t epoch = epoch_.load(std::memory_order_relaxed) + 1;
    recorded.fence = MakeFence(std::move(target), block_for, epoch);
    Insert(recorded.fence);
    epoch_.store(epoch, std::memory_order_release);
    if (journal_ != nullptr) {
      journal_->Append(recorded.fence, std::move(written));
      return recorded;
    }
  }
  written(absl::OkStatus());
  return recorded;
}

absl::Status RevocationLog::CheckRoom(const RevocationTarget& target,
                                      bool blocks) const {
  if (IsFilter(target) && filters_ >= kMaxFilterFences) {
    return LimitReached(kMaxFilterFences, "fences by filter");
  }
  // What blocks cannot be forgotten safely, so it may not crowd out the rest.
  if (blocks && blocking_ >= kMaxFences / 2) {
    return LimitReached(kMaxFences / 2, "fences that block");
  }
  return absl::OkStatus();
}

FencePtr RevocationLog::MakeFence(RevocationTarget target,
                                  std::optional<absl::Duration> block_for,
                                  uint64_t epoch) {
  auto fence = std::make_shared<Fence>();
  fence->create_time = clock_.Now();
  fence->id = Uuid::Make(fence->create_time);
  fence->epoch = epoch;
  const MonotonicTime now = clock_.Monotonic();
  const auto after = [&](absl::Duration d) {
    return now + std::chrono::milliseconds(absl::ToInt64Milliseconds(d));
  };
  absl::Duration keep = IsFilter(target) ? absl::ZeroDuration() : retention_;
  if (block_for) {
    fence->blocks_until = after(*block_for);
    fence->block_until_wall = fence->create_time + *block_for;
    keep = std::max(keep, *block_for);
  }
  fence->forget_at = after(keep);
  fence->forget_at_wall = fence->create_time + keep;
  fence->target = std::move(target);
  return fence;
}

absl::StatusOr<FencePtr> RevocationLog::Lift(const Uuid& id,
                                             Journal::Written written,
                                             const Reach* within) {
  FencePtr fence;
  {
    MutexLock lock(mu_);
    const auto it =
        std::find_if(fences_.begin(), fences_.end(),
                     [&](const auto& entry) { return entry.second->id == id; });
    if (it == fences_.end() || !IsWithin(within, it->second->target)) {
      return WithReason(
          absl::NotFoundError(absl::StrCat("no revocation ", id.ToString(),
                                           " stands: it was never made, was "
                                           "lifted, or has run its time")),
          "REVOCATION_NOT_FOUND");
    }
    fence = it->second;
    Erase(it);
    if (journal_ != nullptr) {
      journal_->Erase({fence}, oldest_epoch(), std::move(written));
      return fence;
    }
  }
  written(absl::OkStatus());
  return fence;
}

void RevocationLog::Insert(FencePtr fence) {
  filters_ += IsFilter(fence->target);
  blocking_ += fence->blocks_until.has_value();
  next_expiry_ = std::min(next_expiry_, fence->forget_at);
  fences_.emplace(fence->epoch, std::move(fence));
}

RevocationLog::Fences::iterator RevocationLog::Erase(Fences::iterator it) {
  filters_ -= IsFilter(it->second->target);
  blocking_ -= it->second->blocks_until.has_value();
  return fences_.erase(it);
}

// ---- forgetting -----------------------------------------------------------

RevocationLog::Fences::iterator RevocationLog::Forget(Fences::iterator it) {
  const FencePtr fence = it->second;
  if (!IsFilter(fence->target)) {
    // Whatever was verified before it is refused for its age from now on.
    const uint64_t oldest = oldest_epoch_.load(std::memory_order_relaxed);
    oldest_epoch_.store(std::max(oldest, fence->epoch),
                        std::memory_order_release);
  }
  forgotten_.push_back(fence);
  return Erase(it);
}

void RevocationLog::ForgetExpired() {
  const MonotonicTime now = clock_.Monotonic();
  if (now < next_expiry_) return;
  next_expiry_ = MonotonicTime::max();
  const size_t before = forgotten_.size();
  for (auto it = fences_.begin(); it != fences_.end();) {
    if (it->second->forget_at <= now) {
      it = Forget(it);
    } else {
      next_expiry_ = std::min(next_expiry_, it->second->forget_at);
      ++it;
    }
  }
  EraseFromJournal({forgotten_.begin() + before, forgotten_.end()});
}

void RevocationLog::EraseFromJournal(std::vector<FencePtr> fences) {
  if (journal_ == nullptr || fences.empty()) return;
  // Nobody waits: what is forgotten again after a restart is forgotten safely.
  journal_->Erase(std::move(fences), oldest_epoch(), [](absl::Status) {});
}

// ---- looking --------------------------------------------------------------

absl::Status RevocationLog::CheckEpoch(uint64_t verified_at_epoch) const {
  const uint64_t current = epoch();
  if (verified_at_epoch > current) {
    return WithReason(
        InvalidField(
            "verified_at_epoch",
            absl::StrCat(verified_at_epoch, " is ahead of the current epoch, ",
                         current, ": take one that this broker gave out")),
        "EPOCH_AHEAD", {{"epoch", absl::StrCat(current)}});
  }
  const uint64_t oldest = oldest_epoch();
  if (verified_at_epoch < oldest) {
    return WithReason(
        absl::FailedPreconditionError(absl::StrCat(
            "verified_at_epoch ", verified_at_epoch,
            " is older than the broker remembers, ", oldest,
            ": read the epoch again, then verify the credential again")),
        "EPOCH_TOO_OLD", {{"epoch", absl::StrCat(current)}});
  }
  return absl::OkStatus();
}

bool RevocationLog::Stands(const Fence& fence) const {
  MutexLock lock(mu_);
  return fences_.contains(fence.epoch);
}

std::vector<FencePtr> RevocationLog::Page(const std::optional<std::string>& ns,
                                          uint64_t after, size_t limit,
                                          const Reach* within) const {
  std::vector<FencePtr> page;
  MutexLock lock(mu_);
  const MonotonicTime now = clock_.Monotonic();
  for (auto it = fences_.upper_bound(after);
       it != fences_.end() && page.size() < limit; ++it) {
    const Fence& fence = *it->second;
    const bool holds = (!ns || fence.target.CoversNamespace(*ns)) &&
                       IsWithin(within, fence.target);
    if (holds && now < fence.forget_at) page.push_back(it->second);
  }
  return page;
}

}  // namespace broker
