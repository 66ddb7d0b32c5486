// Calls that act on connections which are bound: updates, closes, sends.

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "tests/races/simulation.h"

namespace broker::races {
namespace {

constexpr const char* kValues[] = {"", "x", "y"};

// What JOURNAL_FAILED says of a close; unset: it is another error.
std::optional<RevokeResult> ReadUnwritten(const absl::Status& status) {
  const ErrorReason error = GetErrorReason(status);
  if (error.reason != "JOURNAL_FAILED") return std::nullopt;
  RevokeResult result;
  for (const auto& [key, value] : error.metadata) {
    if (key == "closed") result.closed = std::stoull(value);
    if (key == "epoch") result.epoch = std::stoull(value);
  }
  return result;
}

}  // namespace

// ---- updates ----------------------------------------------------------------

void Simulation::Update() {
  const auto c = AnyConnection();
  if (!c) return;
  const auto label = static_cast<Label>(Below(kLabels));
  UpdateCommand command;
  command.id = clients_[*c].id;
  command.labels.emplace();
  if (label != Label::kAbsent) {
    command.labels->push_back({"l", kValues[static_cast<int>(label)]});
  }
  const size_t call = NewCall();
  Trace("call ", call, ": update c", *c,
        " to l=", kValues[static_cast<int>(label)]);
  As(call, [&] {
    hub_->Update(std::move(command),
                 [=, this](absl::StatusOr<ConnectionInfoPtr> info) {
                   const Outcome outcome =
                       info.ok()                            ? Outcome::kOk
                       : absl::IsNotFound(info.status())    ? Outcome::kNotFound
                       : absl::IsUnavailable(info.status()) ? Outcome::kEnded
                       : GetErrorReason(info.status()).reason == "NOT_BOUND"
                           ? Outcome::kNotBound
                           : Outcome::kOther;
                   Trace("call ", call, " is answered: ", ToText(outcome));
                   spec_.Updated(*c, label, outcome);
                 });
  });
}

void Simulation::UpdateFiltered() {
  const auto ns = static_cast<uint8_t>(Below(kNamespaces));
  const auto filter = static_cast<Filter>(Below(kFilters));
  const auto label = static_cast<Label>(Below(kLabels));
  BulkUpdateCommand command;
  command.ns = absl::StrCat("n", ns);
  command.predicate = predicates_[static_cast<size_t>(filter)];
  if (label == Label::kAbsent) {
    command.unset_labels = {"l"};
  } else {
    command.set_labels = {{"l", kValues[static_cast<int>(label)]}};
  }
  const size_t call = NewCall();
  calls_[call].update = Call::BulkUpdate{ns, filter, label};
  Trace("call ", call, ": update ", kFilterTexts[static_cast<int>(filter)],
        " in n", ns, " to l=", kValues[static_cast<int>(label)]);
  As(call, [&] {
    hub_->UpdateFiltered(std::move(command),
                         [=, this](absl::StatusOr<BulkUpdateResult> result) {
                           if (!result.ok()) return;
                           calls_[call].said_updated = result->updated;
                         });
  });
}

// ---- revocations ------------------------------------------------------------

void Simulation::Revoke() {
  Specification::Revoke what;
  what.target = AnyTarget();
  revoked_ = what.target;
  const bool by_filter = what.target.kind == TargetKind::kFilter;
  what.fence = !by_filter || OneIn(2);
  if (by_filter ? what.fence : OneIn(6)) {
    what.block = static_cast<Milliseconds>(1'000 * (1 + Below(8)));
  }
  what.drains = OneIn(3);
  if (OneIn(by_filter ? 3 : 8)) what.spared = spared_ = AnyConnection();
  if (by_filter && what.spared) {
    // To exclude what does not match says nothing.
    const std::optional<Who>& who = spec_.connections()[*what.spared].who;
    for (int i = 0; i < kFilters && !Matches(what.target.filter, who); ++i) {
      what.target.filter = static_cast<Filter>(i);
    }
  }

  RevokeCommand command;
  command.target = ToTarget(what.target);
  command.fence = what.fence;
  if (what.block != 0) command.block_for = absl::Milliseconds(what.block);
  if (what.drains) command.drain_for = absl::Seconds(5);
  if (what.spared) command.exclude.insert(clients_[*what.spared].id);
  if (by_filter && OneIn(4)) command.max_connections = Below(3);

  SeeEpochs();
  const size_t r = spec_.Revoking(what);
  revocation_ids_.emplace_back();
  const size_t call = NewCall();
  calls_[call].revocation = r;
  Trace("call ", call, ": r", r, " closes ", ToText(what.target),
        what.fence ? "" : ", without a fence",
        what.block ? absl::StrCat(", blocks for ", what.block, " ms") : "",
        what.drains ? ", drains" : "",
        what.spared ? absl::StrCat(", but not c", *what.spared) : "",
        command.max_connections
            ? absl::StrCat(", at most ", *command.max_connections)
            : "");
  As(call, [&] {
    hub_->Revoke(
        std::move(command), [=, this](absl::StatusOr<RevokeResult> result) {
          Trace("call ", call, " is answered: ",
                result.ok() ? absl::StrCat(result->closed, " closed, epoch ",
                                           result->epoch)
                            : std::string(result.status().message()));
          SeeEpochs();
          if (result.ok()) {
            spec_.Revoked(r, result->closed, result->epoch, /*written=*/true);
            revocation_ids_[r] = result->revocation_id.value_or(Uuid());
          } else if (!absl::IsUnavailable(result.status())) {
            spec_.RevokeRefused(r);
          } else if (const auto it = ReadUnwritten(result.status())) {
            spec_.Revoked(r, it->closed, it->epoch, /*written=*/false);
          }
        });
  });
}

void Simulation::Lift() {
  // One that was answered, perhaps lifted since; or one of those listed, which
  // may still be under way.
  std::optional<size_t> r;
  Uuid id;
  if (OneIn(2)) {
    if (revocation_ids_.empty()) return;
    r = Below(revocation_ids_.size());
    id = revocation_ids_[*r];
  } else {
    const auto listed = hub_->ListRevocations(std::nullopt, 0, 100);
    if (listed.empty()) return;
    const FencePtr& fence = listed[Below(listed.size())];
    r = spec_.FindFence(fence->epoch);
    id = fence->id;
  }
  if (!r || id.IsNil()) return;
  const size_t call = NewCall();
  Trace("call ", call, ": lift r", *r);
  spec_.Lifting(*r);
  As(call, [&] {
    hub_->LiftRevocation(id, [=, this](absl::StatusOr<FencePtr> fence) {
      Trace("call ", call, " is answered: ", fence.ok() ? "OK" : "an error");
      if (absl::IsUnavailable(fence.status())) return;
      spec_.Lifted(*r, fence.ok());
    });
  });
}

// ---- the rest ---------------------------------------------------------------

void Simulation::Remove() {
  const auto c = AnyConnection();
  if (!c) return;
  const size_t call = NewCall();
  Trace("call ", call, ": remove c", *c);
  As(call, [&] {
    hub_->Remove(clients_[*c].id, [=, this](absl::StatusOr<bool> removed) {
      if (!removed.ok()) return;
      Trace("call ", call, " is answered: ", *removed ? "removed" : "not");
      spec_.Removed(*c, *removed);
    });
  });
}

void Simulation::Send() {
  const size_t call = NewCall();
  if (OneIn(3)) {
    const auto c = AnyConnection();
    if (!c) return;
    Trace("call ", call, ": send to c", *c);
    As(call, [&] {
      Outgoing message;
      message.frame = message_;
      hub_->SendTo(clients_[*c].id, std::move(message),
                   [=, this](absl::StatusOr<SendOutcome> outcome) {
                     if (absl::IsUnavailable(outcome.status())) return;
                     spec_.Counted("sent", outcome.ok(), calls_[call].sent);
                   });
    });
    return;
  }
  SendCommand command;
  command.ns = absl::StrCat("n", Below(kNamespaces));
  command.frame = message_;
  if (OneIn(2)) {
    command.account_id = absl::StrCat("a", Below(kAccounts));
  } else {
    command.predicate = predicates_[Below(kFilters)];
  }
  Trace("call ", call, ": send to ",
        command.account_id ? *command.account_id : "a filter", " in ",
        command.ns);
  As(call, [&] {
    hub_->Send(std::move(command), [=, this](absl::StatusOr<SendTally> tally) {
      if (!tally.ok()) return;
      spec_.Counted("sent", tally->matched, calls_[call].sent);
    });
  });
}

}  // namespace broker::races
