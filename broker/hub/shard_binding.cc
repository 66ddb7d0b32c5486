// Binding, admission and updates of a shard's connections.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "broker/core/identity_limits.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/hub/shard.h"

namespace broker {
namespace {

absl::Status NotBound(const ConnectionId& id) {
  return WithReason(absl::FailedPreconditionError(absl::StrCat(
                        "connection ", id.ToString(),
                        " has no identity yet: AddConnection gives it one")),
                    "NOT_BOUND");
}

absl::Status NotFound(const ConnectionId& id) {
  return WithReason(
      absl::NotFoundError(absl::StrCat("no connection ", id.ToString(),
                                       ": it is gone, closing, or never was")),
      "CONNECTION_NOT_FOUND");
}

}  // namespace

absl::StatusOr<Slot> Shard::FindOpen(const ConnectionId& id,
                                     const Reach* within) const {
  const std::optional<Slot> slot = registry_.Find(id);
  if (!slot || Info(*slot).state == ConnectionState::kClosing ||
      !IsWithin(within, Info(*slot))) {
    return NotFound(id);
  }
  return *slot;
}

absl::Status Shard::CheckBinding(const ConnectionInfo& info,
                                 uint64_t verified_at_epoch) const {
  BROKER_RETURN_IF_ERROR(shared_.revocations.CheckEpoch(verified_at_epoch));
  const Fence* fence =
      fences_.FindRefusing(info, verified_at_epoch, shared_.clock.Monotonic());
  if (fence == nullptr) return absl::OkStatus();
  return WithReason(
      absl::FailedPreconditionError(absl::StrCat(
          "the credential was revoked at epoch ", fence->epoch,
          " and verified at ", verified_at_epoch,
          ": read the epoch again, then verify the credential again")),
      "CREDENTIAL_REVOKED",
      {{"epoch", absl::StrCat(shared_.revocations.epoch())},
       {"revocation_id", fence->id.ToString()}});
}

absl::Status Shard::CheckFences(const ConnectionInfo& as_bound,
                                uint64_t verified_at_epoch) {
  on_shard_.AssertHeld();
  return CheckBinding(as_bound, verified_at_epoch);
}

// A filter says something of bound connections: one that is not yet is judged
// by what it would be.
absl::Status Shard::CheckReach(const ConnectionInfo& now,
                               const BindCommand& command) {
  const Reach* within = command.within.get();
  if (within == nullptr) return absl::OkStatus();
  if (!within->HasNamespace(now.ns) ||
      (now.identity != nullptr && !within->Has(now))) {
    return NotFound(command.id);
  }
  ConnectionInfo as_bound = now;
  as_bound.identity = command.identity;
  return within->Has(as_bound) ? absl::OkStatus() : OutOfReach();
}

absl::StatusOr<ConnectionInfoPtr> Shard::Bind(const BindCommand& command) {
  on_shard_.AssertHeld();
  BROKER_ASSIGN_OR_RETURN(const Slot slot, FindOpen(command.id));
  const ConnectionInfo& now = Info(slot);
  BROKER_RETURN_IF_ERROR(CheckReach(now, command));
  if (now.identity != nullptr && *now.identity != *command.identity) {
    return WithReason(
        absl::FailedPreconditionError(absl::StrCat(
            "connection ", command.id.ToString(),
            " is bound to another identity, and a binding is for life")),
        "ALREADY_BOUND");
  }
  ConnectionInfo as_bound = now;
  as_bound.identity = command.identity;
  const uint64_t verified = command.verified_at_epoch.value_or(now.epoch);
  BROKER_RETURN_IF_ERROR(CheckBinding(as_bound, verified));
  // Whoever binds again may have verified the credential again.
  uint64_t& newest = sessions_[slot]->verified_at_epoch;
  newest = std::max(newest, verified);
  if (now.identity == nullptr) {
    sessions_[slot]->pending->waiting.reset();  // answered
    as_bound.version = 1;
    Change(slot, std::move(as_bound));
  }
  if (!command.hold && Info(slot).state == ConnectionState::kPending) {
    BROKER_RETURN_IF_ERROR(AdmitBound(slot));
  }
  return registry_.Get(slot);
}

absl::StatusOr<ConnectionInfoPtr> Shard::Admit(const ConnectionId& id,
                                               const Reach* within) {
  on_shard_.AssertHeld();
  BROKER_ASSIGN_OR_RETURN(const Slot slot, FindOpen(id, within));
  if (Info(slot).identity == nullptr) return NotBound(id);
  // No fence is asked: one that came since the binding has closed it.
  if (Info(slot).state == ConnectionState::kPending) {
    BROKER_RETURN_IF_ERROR(AdmitBound(slot));
  }
  return registry_.Get(slot);
}

absl::Status Shard::AdmitBound(Slot slot) {
  Session& session = *sessions_[slot];
  const std::string account_id = std::string(Info(slot).identity->account_id());
  session.account = JoinAccount(Info(slot).ns, account_id);
  if (!session.account) {
    Close(slot, CloseCode::kConnectionLimit);
    return WithReason(
        absl::ResourceExhaustedError(absl::StrCat(
            "account ", account_id, " has as many connections as it may")),
        "CONNECTION_LIMIT");
  }
  ConnectionInfo info = Info(slot);
  info.state = ConnectionState::kAdmitted;
  info.admit_time = shared_.clock.Now();
  Change(slot, std::move(info));
  const std::unique_ptr<Session::Pending> waiting = std::move(session.pending);
  waiting->lease.Release();
  ArmExpiry(slot);

  for (const InboundMessage& m : waiting->inbound.Take()) {
    if (Info(slot).state != ConnectionState::kAdmitted) break;
    HandleMessage(slot, m.opcode, m.payload);
  }
  return absl::OkStatus();
}

void Shard::ArmTimer(Slot slot, MonotonicTime at, std::function<void()> fire) {
  std::unique_ptr<Timer>& timer = sessions_[slot]->timer;
  if (timer == nullptr) timer = std::make_unique<Timer>();
  transport_.timers().Arm(*timer, at, std::move(fire));
}

void Shard::ArmExpiry(Slot slot) {
  const auto expires = Info(slot).identity->expires_at();
  if (!expires) return sessions_[slot]->timer.reset();
  const absl::Duration left = *expires - shared_.clock.Now();
  // A minute at once at most: the wall clock may be set, or a machine sleep.
  const auto wait = std::chrono::milliseconds(absl::ToInt64Milliseconds(
      std::clamp(left, absl::ZeroDuration(), absl::Minutes(1))));
  ArmTimer(slot, shared_.clock.Monotonic() + wait, [this, slot] {
    on_shard_.AssertHeld();
    if (*Info(slot).identity->expires_at() <= shared_.clock.Now()) {
      Close(slot, CloseCode::kExpired);
    } else {
      ArmExpiry(slot);
    }
  });
}

absl::StatusOr<ConnectionInfoPtr> Shard::Update(const UpdateCommand& command) {
  on_shard_.AssertHeld();
  BROKER_ASSIGN_OR_RETURN(const Slot slot,
                          FindOpen(command.id, command.within.get()));
  ConnectionInfo info = Info(slot);
  if (info.identity == nullptr) return NotBound(command.id);
  if (command.expected_version && *command.expected_version != info.version) {
    return WithReason(absl::AbortedError(absl::StrCat(
                          "expected_version ", *command.expected_version,
                          " is not the current version, ", info.version,
                          ": read the connection again")),
                      "VERSION_MISMATCH",
                      {{"version", absl::StrCat(info.version)}});
  }
  IdentityFields fields = info.identity->fields();
  if (command.labels) fields.labels = *command.labels;
  if (command.groups) fields.groups = *command.groups;
  if (command.expires_at) fields.expires_at = *command.expires_at;
  IdentityPtr identity = Identity::Make(fields);
  if (*identity != *info.identity) {
    info.identity = std::move(identity);
    if (!IsWithin(command.within.get(), info)) return OutOfReach();
    ChangeIdentity(slot, std::move(info));
    if (command.expires_at && Info(slot).state == ConnectionState::kAdmitted) {
      ArmExpiry(slot);
    }
  }
  return registry_.Get(slot);
}

void Shard::ChangeIdentity(Slot slot, ConnectionInfo info) {
  ++info.version;
  const ConnectionInfoPtr before = registry_.Get(slot);
  Change(slot, std::move(info));
  if (fences_.FindFilterEntered(*before, Info(slot),
                                shared_.clock.Monotonic())) {
    Close(slot, CloseCode::kRevoked);
  }
}

bool Shard::Apply(const BulkUpdateCommand& command, IdentityFields& identity) {
  auto& groups = identity.groups;
  std::erase_if(groups, [&](const std::string& g) {
    return std::find(command.remove_groups.begin(), command.remove_groups.end(),
                     g) != command.remove_groups.end();
  });
  groups.insert(groups.end(), command.add_groups.begin(),
                command.add_groups.end());
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());

  auto& labels = identity.labels;
  const auto replaced = [&](const std::string& key) {
    return std::find(command.unset_labels.begin(), command.unset_labels.end(),
                     key) != command.unset_labels.end() ||
           std::any_of(command.set_labels.begin(), command.set_labels.end(),
                       [&](const auto& l) { return l.first == key; });
  };
  std::erase_if(labels, [&](const auto& l) { return replaced(l.first); });
  labels.insert(labels.end(), command.set_labels.begin(),
                command.set_labels.end());
  std::sort(labels.begin(), labels.end());
  return groups.size() <= kMaxGroups && labels.size() <= kMaxLabels;
}

BulkUpdateResult Shard::UpdateFiltered(const BulkUpdateCommand& command) {
  on_shard_.AssertHeld();
  std::vector<Slot> slots;
  registry_.Select(command.ns, *command.predicate, States::Open(), slots);
  BulkUpdateResult result;
  for (const Slot slot : slots) {
    ConnectionInfo info = Info(slot);
    if (info.identity == nullptr) continue;
    ++result.matched;
    IdentityFields fields = info.identity->fields();
    if (!Apply(command, fields)) {
      ++result.over_limit;
      continue;
    }
    IdentityPtr identity = Identity::Make(fields);
    if (*identity == *info.identity) continue;
    info.identity = std::move(identity);
    if (command.within != nullptr && !command.within->Matches(info)) {
      ++result.out_of_reach;
      continue;
    }
    ++result.updated;
    ChangeIdentity(slot, std::move(info));
  }
  return result;
}

}  // namespace broker
