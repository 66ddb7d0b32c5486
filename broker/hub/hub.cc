#include "broker/hub/hub.h"

#include <cassert>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/hub/fan_out.h"

namespace broker {

Hub::Hub(absl::Span<Transport* const> transports, SettingsPtr settings,
         const Clock& clock)
    : shared_(clock, settings->limits),
      node_id_(Uuid::Make(clock.Now())),
      start_time_(clock.Now()),
      requests_(clock),
      transports_(transports.begin(), transports.end()),
      settings_(settings) {
  for (size_t i = 0; i < transports_.size(); ++i) {
    shards_.push_back(std::make_unique<Shard>(static_cast<uint8_t>(i), shared_,
                                              *transports_[i], settings));
    shard_pointers_.push_back(shards_.back().get());
  }
}

Hub::~Hub() = default;

// ---- asking shards ----------------------------------------------------------

namespace {

thread_local Hub::Together* together = nullptr;

}  // namespace

Hub::Together::Together(Hub& hub) : hub_(hub), tasks_(hub.shards_.size()) {
  assert(together == nullptr);
  together = this;
}

Hub::Together::~Together() {
  together = nullptr;
  for (size_t i = 0; i < tasks_.size(); ++i) {
    if (tasks_[i].empty()) continue;
    hub_.Post(i, [tasks = std::move(tasks_[i])]() mutable {
      for (auto& task : tasks) {
        // As if each had been posted: one that throws ends alone.
        try {
          task();
        } catch (...) {
        }
        task = nullptr;
      }
    });
  }
}

void Hub::Post(size_t shard, absl::AnyInvocable<void()> task) {
  if (together != nullptr) {
    together->tasks_[shard].push_back(std::move(task));
  } else {
    transports_[shard]->Post(std::move(task));
  }
}

SettingsPtr Hub::settings() const {
  MutexLock lock(mu_);
  return settings_;
}

// ---- binding --------------------------------------------------------------

void Hub::Bind(BindCommand command, Done<ConnectionInfoPtr> done) {
  const ConnectionId id = command.id;
  OnOwner(
      id, [command = std::move(command)](Shard& s) { return s.Bind(command); },
      std::move(done));
}

void Hub::Admit(const ConnectionId& id, Done<ConnectionInfoPtr> done) {
  OnOwner(
      id, [id](Shard& s) { return s.Admit(id); }, std::move(done));
}

void Hub::Update(UpdateCommand command, Done<ConnectionInfoPtr> done) {
  const ConnectionId id = command.id;
  OnOwner(
      id,
      [command = std::move(command)](Shard& s) { return s.Update(command); },
      std::move(done));
}

void Hub::UpdateFiltered(BulkUpdateCommand command,
                         Done<BulkUpdateResult> done) {
  OnAll([command = std::move(command)](
            Shard& s) { return s.UpdateFiltered(command); },
        [done = std::move(done)](Parts<BulkUpdateResult> parts) mutable {
          if (!parts.ok()) return done(parts.status());
          BulkUpdateResult sum;
          for (const BulkUpdateResult& part : *parts) {
            sum.matched += part.matched;
            sum.updated += part.updated;
            sum.over_limit += part.over_limit;
          }
          done(sum);
        });
}

void Hub::Remove(const ConnectionId& id, Done<bool> done) {
  OnOwner(
      id, [id](Shard& s) -> absl::StatusOr<bool> { return s.Remove(id); },
      std::move(done));
}

void Hub::CheckFences(ConnectionInfo as_bound, uint64_t verified_at_epoch,
                      Done<bool> done) {
  // Any shard will do: each has every fence.
  OnOwner(
      as_bound.id,
      [as_bound, verified_at_epoch](Shard& s) -> absl::StatusOr<bool> {
        const absl::Status status = s.CheckFences(as_bound, verified_at_epoch);
        if (!status.ok()) return status;
        return true;
      },
      std::move(done));
}

absl::StatusOr<std::string> Hub::MintTicket(Ticket ticket) {
  if (draining()) return ShuttingDown();
  BROKER_RETURN_IF_ERROR(
      shared_.revocations.CheckEpoch(ticket.verified_at_epoch));
  return shared_.tickets.Mint(std::move(ticket), clock().Monotonic());
}

// ---- revocation -----------------------------------------------------------

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
  RevocationLog::Recorded recorded;
  if (command->fence) {
    auto result =
        shared_.revocations.Record(command->target, command->block_for);
    if (!result.ok()) return done(result.status());
    recorded = *std::move(result);
  }
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

void Hub::LiftRevocation(const Uuid& id, Done<FencePtr> done) {
  absl::StatusOr<FencePtr> lifted = shared_.revocations.Lift(id);
  if (!lifted.ok()) return done(lifted.status());
  const FencePtr fence = *std::move(lifted);
  OnAll(
      [fence](Shard& s) {
        s.LiftFence(*fence);
        return true;
      },
      [fence, done = std::move(done)](Parts<bool> parts) mutable {
        if (!parts.ok()) return done(parts.status());
        done(fence);
      });
}

// ---- delivery -------------------------------------------------------------

void Hub::Send(SendCommand command, Done<SendTally> done) {
  if (!command.include_outcomes) {
    return Deliver(std::move(command), std::move(done));
  }
  auto count = [command](Shard& s) { return s.CountRecipients(command); };
  OnAll(std::move(count),
        Summed<uint64_t>([this, command = std::move(command),
                          done = std::move(done)](
                             absl::StatusOr<uint64_t> matched) mutable {
          if (!matched.ok()) return done(matched.status());
          if (*matched > SendTally::kMaxOutcomes) {
            return done(WithReason(
                absl::ResourceExhaustedError(absl::StrCat(
                    *matched, " connections match, and at most ",
                    SendTally::kMaxOutcomes,
                    " outcomes are returned: nothing was sent. Send without "
                    "include_outcomes, or to fewer")),
                "TOO_MANY_OUTCOMES"));
          }
          Deliver(std::move(command), std::move(done));
        }));
}

void Hub::Deliver(SendCommand command, Done<SendTally> done) {
  OnAll([command = std::move(command)](Shard& s) { return s.Send(command); },
        [done = std::move(done)](Parts<SendTally> parts) mutable {
          if (!parts.ok()) return done(parts.status());
          SendTally sum;
          for (SendTally& part : *parts) {
            sum.matched += part.matched;
            sum.queued += part.queued;
            sum.dropped_slow += part.dropped_slow;
            std::move(part.outcomes.begin(), part.outcomes.end(),
                      std::back_inserter(sum.outcomes));
          }
          done(std::move(sum));
        });
}

void Hub::SendTo(const ConnectionId& id, Outgoing message,
                 Done<SendOutcome> done) {
  OnOwner(
      id,
      [id, message = std::move(message)](Shard& s) {
        return s.SendTo(id, message);
      },
      std::move(done));
}

// ---- life -----------------------------------------------------------------

void Hub::Reload(SettingsPtr settings) {
  {
    MutexLock lock(mu_);
    settings_ = settings;
  }
  shared_.caps.SetLimits(settings->limits);
  for (size_t i = 0; i < shards_.size(); ++i) {
    Post(i, [settings, shard = shards_[i].get()] { shard->Reload(settings); });
  }
}

void Hub::Drain(absl::Duration spread, absl::AnyInvocable<void()> done) {
  shared_.draining = true;
  // Held by every shard until it is drained, or ends.
  struct Undrained {
    Offers& offers;
    absl::AnyInvocable<void()> done;
    ~Undrained() {
      // Behind the last connection's end.
      offers.FailAll(ShuttingDown());
      done();
    }
  };
  const std::shared_ptr<Undrained> undrained(
      new Undrained{shared_.offers, std::move(done)});
  for (size_t i = 0; i < shards_.size(); ++i) {
    Post(i, [held = undrained, spread, shard = shards_[i].get()]() mutable {
      shard->Drain(spread, [held = std::move(held)] {});
    });
  }
}

}  // namespace broker
