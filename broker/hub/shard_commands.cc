// Closing, sending and looking, on one shard.

#include <chrono>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/hub/shard.h"

namespace broker {
namespace {

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

SendOutcome ToOutcome(SendResult result) {
  switch (result) {
    case SendResult::kQueued:
      return SendOutcome::kQueued;
    case SendResult::kTooSlow:
    case SendResult::kDropped:
      return SendOutcome::kDroppedSlow;
    case SendResult::kExpired:
      return SendOutcome::kExpired;
    case SendResult::kGone:
      break;
  }
  return SendOutcome::kGone;
}

}  // namespace

// ---- closing --------------------------------------------------------------

bool Shard::Remove(const ConnectionId& id, const Reach* within) {
  on_shard_.AssertHeld();
  const absl::StatusOr<Slot> slot = FindOpen(id, within);
  return slot.ok() && Close(*slot, CloseCode::kRemoved);
}

uint64_t Shard::CountCovered(const RevocationTarget& target,
                             const ConnectionIdSet& exclude) {
  on_shard_.AssertHeld();
  // No fence is asked: all of them were verified before the one to come.
  std::vector<Slot> slots;
  registry_.Select(target, States::Open(), slots);
  uint64_t covered = slots.size();
  if (exclude.empty()) return covered;
  for (const Slot slot : slots) covered -= exclude.contains(Info(slot).id);
  return covered;
}

uint64_t Shard::Revoke(const RevocationTarget& target, const FencePtr& fence,
                       const std::vector<FencePtr>& forgotten,
                       absl::Duration drain_for,
                       const ConnectionIdSet& exclude) {
  on_shard_.AssertHeld();
  // Before the closes, so that no handshake sees the fence missing. One that
  // was lifted meanwhile has come here before its own addition: nothing would
  // ever take it away again.
  if (fence != nullptr && shared_.revocations.Stands(*fence)) {
    fences_.Add(fence);
  }
  for (const FencePtr& f : forgotten) fences_.Remove(*f);
  // The closing ones too: their drains are cut short.
  std::vector<Slot> slots;
  registry_.Select(target, States::All(), slots);
  const MonotonicTime now = shared_.clock.Monotonic();
  uint64_t closed = 0;
  for (const Slot slot : slots) {
    if (!exclude.empty() && exclude.contains(Info(slot).id)) continue;
    // A login from after the revocation can be here before it.
    if (fence != nullptr &&
        !fence->Closes(Info(slot), sessions_[slot]->verified_at_epoch, now)) {
      continue;
    }
    closed += Close(slot, CloseCode::kRevoked, drain_for);
  }
  return closed;
}

void Shard::LiftFence(const Fence& fence) {
  on_shard_.AssertHeld();
  fences_.Remove(fence);
}

// ---- sending --------------------------------------------------------------

absl::Span<const Slot> Shard::Recipients(const SendCommand& command,
                                         std::vector<Slot>& scratch) {
  constexpr States kAdmitted = {ConnectionState::kAdmitted};
  if (command.account_id) {
    registry_.SelectAccount(command.ns, *command.account_id, kAdmitted,
                            scratch);
    if (command.predicate != nullptr && !command.predicate->matches_all()) {
      std::erase_if(scratch, [&](Slot slot) {
        on_shard_.AssertHeld();
        return !command.predicate->Matches(Info(slot));
      });
    }
  } else if (command.predicate->matches_all() && command.exclude.empty()) {
    return registry_.InState(command.ns, ConnectionState::kAdmitted);
  } else {
    registry_.Select(command.ns, *command.predicate, kAdmitted, scratch);
  }
  if (!command.exclude.empty()) {
    std::erase_if(scratch, [&](Slot slot) {
      on_shard_.AssertHeld();
      return command.exclude.contains(Info(slot).id);
    });
  }
  return scratch;
}

uint64_t Shard::CountRecipients(const SendCommand& command) {
  on_shard_.AssertHeld();
  std::vector<Slot> scratch;
  return Recipients(command, scratch).size();
}

SendTally Shard::Send(const SendCommand& command) {
  on_shard_.AssertHeld();
  const auto start = std::chrono::steady_clock::now();
  recipients_.clear();
  SendTally tally;
  Deliver(Recipients(command, recipients_), command.frame,
          command.include_outcomes, tally);
  stats_.fan_out.Observe(SecondsSince(start));
  return tally;
}

const ConnectionId& Shard::connection_id(Slot slot) const {
  on_shard_.AssertHeld();
  return Info(slot).id;
}

absl::StatusOr<SendOutcome> Shard::SendTo(const ConnectionId& id,
                                          const Outgoing& message,
                                          const Reach* within) {
  on_shard_.AssertHeld();
  BROKER_ASSIGN_OR_RETURN(const Slot slot, FindOpen(id, within));
  if (Info(slot).state == ConnectionState::kPending) {
    return WithReason(absl::FailedPreconditionError(absl::StrCat(
                          "connection ", id.ToString(),
                          " is pending: nothing is sent to it before it is "
                          "admitted")),
                      "CONNECTION_PENDING");
  }
  const EndpointSettings& endpoint = *sessions_[slot]->endpoint;
  BROKER_RETURN_IF_ERROR(
      message.CheckFits(endpoint.framing, endpoint.max_message_bytes));
  SendTally tally;
  Deliver({slot}, message.frame, /*include_outcomes=*/false, tally);
  if (tally.matched == 0) {
    return WithReason(absl::NotFoundError(absl::StrCat(
                          "connection ", id.ToString(), " has just gone")),
                      "CONNECTION_NOT_FOUND");
  }
  return tally.queued == 1    ? SendOutcome::kQueued
         : tally.expired == 1 ? SendOutcome::kExpired
                              : SendOutcome::kDroppedSlow;
}

void Shard::Deliver(absl::Span<const Slot> slots, const FramePtr& frame,
                    bool include_outcomes, SendTally& tally) {
  results_.resize(slots.size());
  transport_.Send(slots, frame, results_.data());
  std::vector<Slot> slow;
  for (size_t i = 0; i < slots.size(); ++i) {
    // A socket found dead was matched as long as its end was not known: it is
    // not counted at all.
    if (results_[i] == SendResult::kGone) continue;
    ++tally.matched;
    const SendOutcome outcome = ToOutcome(results_[i]);
    ++(outcome == SendOutcome::kQueued    ? tally.queued
       : outcome == SendOutcome::kExpired ? tally.expired
                                          : tally.dropped_slow);
    if (results_[i] == SendResult::kTooSlow) slow.push_back(slots[i]);
    if (include_outcomes) {
      tally.outcomes.emplace_back(Info(slots[i]).id, outcome);
    }
  }
  stats_.messages_out.Add(tally.queued);
  stats_.messages_out_dropped_slow.Add(tally.dropped_slow);
  stats_.messages_out_expired.Add(tally.expired);
  // After the loop: closing changes the arrays that `slots` may be part of.
  for (const Slot slot : slow) Close(slot, CloseCode::kSlowConsumer);
}

// ---- looking --------------------------------------------------------------

absl::StatusOr<ConnectionDetails> Shard::Get(const ConnectionId& id,
                                             const Reach* within) {
  on_shard_.AssertHeld();
  const std::optional<Slot> slot = registry_.Find(id);
  if (!slot || !IsWithin(within, Info(*slot))) {
    return WithReason(
        absl::NotFoundError(absl::StrCat("no connection ", id.ToString(),
                                         ": it is gone, or never was")),
        "CONNECTION_NOT_FOUND");
  }
  const Transport::OutboxBytes outbox = transport_.Outbox(*slot);
  return ConnectionDetails{registry_.Get(*slot), outbox.now, outbox.peak};
}

std::vector<ConnectionInfoPtr> Shard::List(const ListCommand& command) {
  on_shard_.AssertHeld();
  return registry_.Page(command.ns, *command.predicate, command.states,
                        command.after, command.limit);
}

uint64_t Shard::Count(const std::string& ns, const Predicate& predicate) {
  on_shard_.AssertHeld();
  if (predicate.matches_all()) {
    return registry_.InState(ns, ConnectionState::kAdmitted).size();
  }
  std::vector<Slot> slots;
  registry_.Select(ns, predicate, {ConnectionState::kAdmitted}, slots);
  return slots.size();
}

std::map<std::string, Registry::Counts> Shard::CountByNamespace(
    const Reach* within) {
  on_shard_.AssertHeld();
  return registry_.CountByNamespace(within);
}

// ---- watching -------------------------------------------------------------

void Shard::Watch(const std::shared_ptr<WatchFeed>& feed) {
  on_shard_.AssertHeld();
  const WatchSpec& spec = feed->spec();
  feed->PushSnapshot(index_, watches_.position(),
                     registry_.Page(spec.ns, *spec.predicate, spec.states,
                                    ConnectionId(), registry_.size()));
  watches_.Subscribe(feed);
}

absl::Status Shard::WatchFrom(const std::shared_ptr<WatchFeed>& feed,
                              uint64_t position) {
  on_shard_.AssertHeld();
  return watches_.SubscribeFrom(position, feed);
}

uint64_t Shard::watch_position() {
  on_shard_.AssertHeld();
  return watches_.position();
}

void Shard::Reload(SettingsPtr settings) {
  on_shard_.AssertHeld();
  settings_ = std::move(settings);
}

}  // namespace broker
