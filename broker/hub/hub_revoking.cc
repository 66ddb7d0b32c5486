// Revoking, over all shards and the journal.

#include <atomic>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "broker/hub/fan_out.h"
#include "broker/hub/hub.h"

namespace broker {
namespace {

absl::Status NotWritten(const RevokeResult& result, const absl::Status& why) {
  return WithReason(
      absl::UnavailableError(absl::StrCat(
          result.closed,
          " connections were closed, and what was verified before is refused, "
          "but only until the broker restarts: the revocation could not be "
          "written to the journal (",
          why.message(), "). Call again")),
      "JOURNAL_FAILED",
      {{"closed", absl::StrCat(result.closed)},
       {"epoch", absl::StrCat(result.epoch)},
       {"revocation_id", result.revocation_id->ToString()}});
}

absl::Status NotWritten(const FencePtr& fence, const absl::Status& why) {
  return WithReason(
      absl::UnavailableError(absl::StrCat(
          "the revocation was lifted, but stands again when the broker "
          "restarts: that could not be written to the journal (",
          why.message(), ")")),
      "JOURNAL_FAILED", {{"revocation_id", fence->id.ToString()}});
}

// An answer that waits for two: the shards, which have acted at once, and the
// journal. A change that may not survive a crash is never answered OK.
template <typename T>
class WhenWritten {
 public:
  explicit WhenWritten(Done<T> done)
      : both_(std::make_shared<Both>(std::move(done))) {}

  Done<T> ForShards() {
    return [both = both_](absl::StatusOr<T> acted) {
      both->acted = std::move(acted);
      both->Arrive();
    };
  }
  Journal::Written ForJournal() {
    return [both = both_](absl::Status written) {
      both->written = std::move(written);
      both->Arrive();
    };
  }
  // Neither will come.
  void Fail(absl::Status status) { both_->done(std::move(status)); }

 private:
  struct Both {
    explicit Both(Done<T> d) : done(std::move(d)) {}
    void Arrive() {
      if (missing.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
      if (!acted.ok() || written.ok()) return done(std::move(acted));
      done(NotWritten(*acted, written));
    }
    Done<T> done;
    absl::StatusOr<T> acted;
    absl::Status written;
    std::atomic<int> missing{2};
  };
  std::shared_ptr<Both> both_;
};

}  // namespace

void Hub::Revoke(RevokeCommand command, Done<RevokeResult> done) {
  auto shared = std::make_shared<const RevokeCommand>(std::move(command));
  if (!shared->validate_only && !shared->max_connections) {
    return Execute(std::move(shared), std::move(done));
  }
  // Counted over all shards first, so that a guard that trips leaves no trace.
  OnAll(
      [shared](Shard& s) {
        return s.CountCovered(shared->target, shared->exclude);
      },
      Summed<uint64_t>([this, shared, done = std::move(done)](
                           absl::StatusOr<uint64_t> covered) mutable {
        if (!covered.ok()) return done(covered.status());
        const auto& most = shared->max_connections;
        if (most && *covered > *most) {
          return done(WithReason(
              absl::FailedPreconditionError(absl::StrCat(
                  *covered, " connections match and max_connections is ", *most,
                  ": nothing was closed")),
              "TOO_MANY_CONNECTIONS", {{"matched", absl::StrCat(*covered)}}));
        }
        if (shared->validate_only) {
          return done(RevokeResult{*covered, epoch(), std::nullopt});
        }
        Execute(std::move(shared), std::move(done));
      }));
}

void Hub::Execute(std::shared_ptr<const RevokeCommand> command,
                  Done<RevokeResult> done) {
  if (!command->fence) return Close(std::move(command), {}, std::move(done));
  WhenWritten<RevokeResult> answer(std::move(done));
  auto recorded = shared_.revocations.Record(
      command->target, command->block_for, answer.ForJournal());
  if (!recorded.ok()) return answer.Fail(recorded.status());
  Close(std::move(command), *std::move(recorded), answer.ForShards());
}

void Hub::Close(std::shared_ptr<const RevokeCommand> command,
                RevocationLog::Recorded recorded, Done<RevokeResult> done) {
  const uint64_t at = recorded.fence ? recorded.fence->epoch : epoch();
  const std::optional<Uuid> id =
      recorded.fence ? std::optional(recorded.fence->id) : std::nullopt;
  OnAll(
      [command, recorded = std::move(recorded)](Shard& s) {
        return s.Revoke(command->target, recorded.fence, recorded.forgotten,
                        command->drain_for, command->exclude);
      },
      Summed<uint64_t>([at, id, done = std::move(done)](
                           absl::StatusOr<uint64_t> closed) mutable {
        if (!closed.ok()) return done(closed.status());
        done(RevokeResult{*closed, at, id});
      }));
}

void Hub::LiftRevocation(const Uuid& id, Done<FencePtr> done,
                         const Reach* within) {
  WhenWritten<FencePtr> answer(std::move(done));
  absl::StatusOr<FencePtr> lifted =
      shared_.revocations.Lift(id, answer.ForJournal(), within);
  if (!lifted.ok()) return answer.Fail(lifted.status());
  OnAll(
      [fence = *lifted](Shard& s) {
        s.LiftFence(*fence);
        return true;
      },
      [fence = *lifted, done = answer.ForShards()](Parts<bool> parts) mutable {
        if (!parts.ok()) return done(parts.status());
        done(fence);
      });
}

}  // namespace broker
