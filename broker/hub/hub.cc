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
    : Hub(transports, settings, clock, JournalPast::None(clock), nullptr) {}

Hub::Hub(absl::Span<Transport* const> transports, SettingsPtr settings,
         const Clock& clock, JournalPast past, Journal* journal)
    : shared_(clock, *settings, std::move(past), journal),
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
  shared_.close_evicted = [this](uint8_t shard, std::string ns,
                                 std::string account_id) {
    transports_[shard]->Post([shard = shards_[shard].get(), ns = std::move(ns),
                              account_id = std::move(account_id)] {
      shard->CloseEvicted(ns, account_id);
    });
  };
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

void Hub::Admit(const ConnectionId& id, Done<ConnectionInfoPtr> done,
                ReachPtr within) {
  OnOwner(
      id,
      [id, within = std::move(within)](Shard& s) {
        return s.Admit(id, within.get());
      },
      std::move(done));
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
            sum.out_of_reach += part.out_of_reach;
          }
          done(sum);
        });
}

void Hub::Remove(const ConnectionId& id, Done<bool> done, ReachPtr within) {
  OnOwner(
      id,
      [id, within = std::move(within)](Shard& s) -> absl::StatusOr<bool> {
        return s.Remove(id, within.get());
      },
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

// ---- delivery -------------------------------------------------------------

namespace {

OutcomeTrackerPtr TrackerOf(const Frame& frame) {
  return frame.options() == nullptr ? nullptr : frame.options()->tracker;
}

// Answers when what was queued has ended.
void AwaitEnds(OutcomeTracker& tracker, SendTally tally, Done<SendTally> done) {
  const uint64_t queued = tally.queued;
  tracker.Await(queued, [tally = std::move(tally), done = std::move(done)](
                            OutcomeTracker::Ends ends) mutable {
    tally.written = ends.written;
    tally.expired += ends.expired;
    tally.dropped_slow += ends.dropped_slow;
    tally.gone = ends.gone;
    std::erase_if(tally.outcomes, [](const auto& outcome) {
      return outcome.second == SendOutcome::kQueued;
    });
    std::move(ends.each.begin(), ends.each.end(),
              std::back_inserter(tally.outcomes));
    done(std::move(tally));
  });
}

// The same for one connection.
Done<SendOutcome> AwaitEnd(OutcomeTrackerPtr tracker, Done<SendOutcome> done) {
  return [tracker = std::move(tracker),
          done = std::move(done)](absl::StatusOr<SendOutcome> outcome) mutable {
    if (!outcome.ok() || *outcome != SendOutcome::kQueued) {
      return done(std::move(outcome));
    }
    tracker->Await(
        1, [done = std::move(done)](const OutcomeTracker::Ends& ends) mutable {
          done(ends.written > 0        ? SendOutcome::kWritten
               : ends.expired > 0      ? SendOutcome::kExpired
               : ends.dropped_slow > 0 ? SendOutcome::kDroppedSlow
                                       : SendOutcome::kGone);
        });
  };
}

}  // namespace

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
  const FramePtr frame = command.frame;
  OnAll([command = std::move(command)](Shard& s) { return s.Send(command); },
        [tracker = TrackerOf(*frame),
         done = std::move(done)](Parts<SendTally> parts) mutable {
          if (!parts.ok()) return done(parts.status());
          SendTally sum;
          for (SendTally& part : *parts) {
            sum.matched += part.matched;
            sum.queued += part.queued;
            sum.dropped_slow += part.dropped_slow;
            sum.expired += part.expired;
            std::move(part.outcomes.begin(), part.outcomes.end(),
                      std::back_inserter(sum.outcomes));
          }
          if (tracker == nullptr) return done(std::move(sum));
          AwaitEnds(*tracker, std::move(sum), std::move(done));
        });
}

void Hub::SendTo(const ConnectionId& id, Outgoing message,
                 Done<SendOutcome> done, ReachPtr within) {
  if (OutcomeTrackerPtr tracker = TrackerOf(*message.frame)) {
    done = AwaitEnd(std::move(tracker), std::move(done));
  }
  OnOwner(
      id,
      [id, message = std::move(message), within = std::move(within)](Shard& s) {
        return s.SendTo(id, message, within.get());
      },
      std::move(done));
}

// ---- life -----------------------------------------------------------------

void Hub::Reload(SettingsPtr settings) {
  {
    MutexLock lock(mu_);
    settings_ = settings;
  }
  const Limits& limits = settings->limits;
  shared_.caps.SetLimits(limits);
  shared_.accounts.SetLimits(limits);
  shared_.ticket_misses.SetLimit(limits.max_ticket_misses_per_minute);
  shared_.revocations.SetRetention(settings->revocation_retention);
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
