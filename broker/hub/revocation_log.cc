#include "broker/hub/revocation_log.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"

namespace broker {
namespace {

absl::Status LimitReached(size_t limit, absl::string_view what) {
  return WithReason(
      absl::ResourceExhaustedError(absl::StrCat(
          "there are ", limit, " ", what,
          " already, and no more are allowed: lift some, or let them expire")),
      "REVOCATION_LIMIT");
}

bool IsFilter(const Fence& fence) {
  return fence.target.kind == RevocationTarget::Kind::kFilter;
}

}  // namespace

RevocationLog::RevocationLog(const Clock& clock)
    : clock_(clock),
      epoch_(static_cast<uint64_t>(absl::ToUnixMicros(clock.Now()))),
      oldest_epoch_(epoch_.load()) {}

absl::StatusOr<RevocationLog::Recorded> RevocationLog::Record(
    RevocationTarget target, std::optional<absl::Duration> block_for) {
  auto fence = std::make_shared<Fence>();
  fence->create_time = clock_.Now();
  fence->id = Uuid::Make(fence->create_time);
  fence->target = std::move(target);
  const MonotonicTime now = clock_.Monotonic();
  const auto after = [&](absl::Duration d) {
    return now + std::chrono::milliseconds(absl::ToInt64Milliseconds(d));
  };
  absl::Duration keep = IsFilter(*fence) ? absl::ZeroDuration() : kRetention;
  if (block_for) {
    fence->blocks_until = after(*block_for);
    fence->block_until_wall = fence->create_time + *block_for;
    keep = std::max(keep, *block_for);
  }
  fence->forget_at = after(keep);
  fence->forget_at_wall = fence->create_time + keep;

  MutexLock lock(mu_);
  Recorded recorded;
  ForgetExpired(recorded.forgotten);
  if (IsFilter(*fence) && filters_ >= kMaxFilterFences) {
    return LimitReached(kMaxFilterFences, "fences by filter");
  }
  // What blocks cannot be forgotten safely, so it may not crowd out the rest.
  if (fence->blocks_until && blocking_ >= kMaxFences / 2) {
    return LimitReached(kMaxFences / 2, "fences that block");
  }
  while (fences_.size() >= kMaxFences) {
    // There is one: what blocks is at most half of them.
    Forget(std::find_if(fences_.begin(), fences_.end(),
                        [](const auto& e) { return !e.second->blocks_until; }),
           recorded.forgotten);
  }
  fence->epoch = epoch_.load(std::memory_order_relaxed) + 1;
  filters_ += IsFilter(*fence);
  blocking_ += fence->blocks_until.has_value();
  next_expiry_ = std::min(next_expiry_, fence->forget_at);
  recorded.fence = std::move(fence);
  fences_.emplace(recorded.fence->epoch, recorded.fence);
  epoch_.store(recorded.fence->epoch, std::memory_order_release);
  return recorded;
}

absl::Status RevocationLog::CheckEpoch(uint64_t verified_at_epoch) const {
  const uint64_t current = epoch();
  if (verified_at_epoch > current) {
    return InvalidField(
        "verified_at_epoch",
        absl::StrCat(verified_at_epoch, " is ahead of the current epoch, ",
                     current, ": take one that this broker gave out"));
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

void RevocationLog::Forget(absl::btree_map<uint64_t, FencePtr>::iterator it,
                           std::vector<FencePtr>& forgotten) {
  const Fence& fence = *it->second;
  filters_ -= IsFilter(fence);
  blocking_ -= fence.blocks_until.has_value();
  if (!IsFilter(fence)) {
    // Whatever was verified before it is refused for its age from now on.
    const uint64_t oldest = oldest_epoch_.load(std::memory_order_relaxed);
    oldest_epoch_.store(std::max(oldest, fence.epoch),
                        std::memory_order_release);
  }
  forgotten.push_back(it->second);
  fences_.erase(it);
}

void RevocationLog::ForgetExpired(std::vector<FencePtr>& forgotten) {
  const MonotonicTime now = clock_.Monotonic();
  if (now < next_expiry_) return;
  next_expiry_ = MonotonicTime::max();
  for (auto it = fences_.begin(); it != fences_.end();) {
    if (it->second->forget_at <= now) {
      Forget(it, forgotten);
      it = fences_.upper_bound(forgotten.back()->epoch);
    } else {
      next_expiry_ = std::min(next_expiry_, it->second->forget_at);
      ++it;
    }
  }
}

std::vector<FencePtr> RevocationLog::ForgetExpired() {
  MutexLock lock(mu_);
  std::vector<FencePtr> forgotten;
  ForgetExpired(forgotten);
  return forgotten;
}

absl::StatusOr<FencePtr> RevocationLog::Lift(const Uuid& id,
                                             const Reach* within) {
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
  FencePtr fence = it->second;
  filters_ -= IsFilter(*fence);
  blocking_ -= fence->blocks_until.has_value();
  fences_.erase(it);
  return fence;
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
