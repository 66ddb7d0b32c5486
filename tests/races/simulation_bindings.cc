// What services do on the ways to a bound connection.

#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "tests/races/simulation.h"

namespace broker::races {
namespace {

constexpr Milliseconds kTicketTtl = 30'000;

Outcome ToOutcome(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return Outcome::kOk;
    case absl::StatusCode::kNotFound:
      return Outcome::kNotFound;
    case absl::StatusCode::kInvalidArgument:
      return Outcome::kAhead;
    case absl::StatusCode::kUnavailable:
      return Outcome::kEnded;
    case absl::StatusCode::kFailedPrecondition: {
      const std::string reason = GetErrorReason(status).reason;
      if (reason == "CREDENTIAL_REVOKED") return Outcome::kRevoked;
      if (reason == "EPOCH_TOO_OLD") return Outcome::kTooOld;
      if (reason == "ALREADY_BOUND") return Outcome::kAlreadyBound;
      if (reason == "NOT_BOUND") return Outcome::kNotBound;
      return Outcome::kOther;
    }
    default:
      return Outcome::kOther;
  }
}

}  // namespace

void Simulation::AnswerCallout() {
  if (questions_.empty()) return;
  const size_t at = Below(questions_.size());
  Question question = std::move(questions_[at]);
  questions_.erase(questions_.begin() + static_cast<ptrdiff_t>(at));
  CalloutAnswer answer;
  switch (Below(8)) {
    case 6:
      answer.http_status = 403;
      Trace("the application refuses a client");
      return question.done(std::move(answer));
    case 7:
      Trace("the application never answers");
      return;
    default:
      *question.who = AnyWho();
      answer.identity = IdentityOf(**question.who);
      Trace("the application says that a client is ", ToText(*question.who));
      question.done(std::move(answer));
  }
}

void Simulation::ReadEpoch() {
  known_epochs_.push_back(hub_->epoch());
  Trace("a service reads the epoch, ", hub_->epoch());
}

void Simulation::Mint() {
  const auto ns = static_cast<uint8_t>(Below(kNamespaces));
  const Who who = AnyWho();
  Ticket ticket;
  ticket.ns = absl::StrCat("n", ns);
  ticket.identity = IdentityOf(who);
  ticket.verified_at_epoch = AnyEpoch();
  ticket.expires = clock_.Monotonic() + std::chrono::milliseconds(kTicketTtl);
  const uint64_t verified_at = ticket.verified_at_epoch;
  const auto secret = hub_->MintTicket(std::move(ticket));
  Trace("a ticket in n", ns, " for ", ToText(std::optional(who)),
        ", verified at ", verified_at, ": ", ToText(ToOutcome(secret.status())),
        secret.ok() ? absl::StrCat(", t", tickets_.size()) : "");
  SeeEpochs();
  spec_.Minted(ns, who, verified_at, kTicketTtl, ToOutcome(secret.status()));
  if (secret.ok()) tickets_.push_back({*secret, ns, who, verified_at});
}

void Simulation::Bind() {
  const auto c = AnyConnection();
  if (!c) return;
  const std::optional<Who> bound = spec_.connections()[*c].who;
  const Who who = bound && !OneIn(3) ? *bound : AnyWho();
  const bool hold = OneIn(3);
  Bind(*c, who, hold, OneIn(3) ? std::nullopt : std::optional(AnyEpoch()));
}

void Simulation::Bind(size_t c, const Who& who, bool hold,
                      std::optional<uint64_t> epoch) {
  BindCommand command;
  command.id = clients_[c].id;
  command.identity = IdentityOf(who);
  command.hold = hold;
  command.verified_at_epoch = epoch;
  const uint64_t verified_at = epoch.value_or(clients_[c].arrival_epoch);
  const size_t call = NewCall();
  Trace("call ", call, ": bind c", c, " to ", ToText(std::optional(who)),
        ", verified at ", verified_at, hold ? ", and hold it" : "");
  As(call, [&] {
    hub_->Bind(std::move(command),
               [=, this](absl::StatusOr<ConnectionInfoPtr> info) {
                 const Outcome outcome = ToOutcome(info.status());
                 Trace("call ", call, " is answered: ", ToText(outcome));
                 SeeEpochs();
                 spec_.Bound(c, who, verified_at, hold, outcome);
                 if (info.ok()) bindings_.push_back({c, who, verified_at});
               });
  });
}

// A repeat of an AddConnection that was answered with OK: control asks this.
void Simulation::RepeatBind() {
  if (bindings_.empty()) return;
  const Binding b = bindings_[Below(bindings_.size())];
  const uint8_t ns = spec_.connections()[b.connection].ns;
  ConnectionInfo as_bound;
  as_bound.id = clients_[b.connection].id;
  as_bound.ns = absl::StrCat("n", ns);
  as_bound.endpoint = absl::StrCat("/n", ns);
  as_bound.identity = IdentityOf(b.who);
  const size_t call = NewCall();
  Trace("call ", call, ": repeat the binding of c", b.connection, " to ",
        ToText(std::optional(b.who)));
  As(call, [&] {
    hub_->CheckFences(std::move(as_bound), b.verified_at,
                      [=, this](absl::StatusOr<bool> allowed) {
                        const Outcome outcome = ToOutcome(allowed.status());
                        Trace("call ", call, " is answered: ", ToText(outcome));
                        if (outcome == Outcome::kEnded) return;
                        SeeEpochs();
                        spec_.Decided(ns, b.who, b.verified_at, outcome);
                      });
  });
}

void Simulation::Admit() {
  const auto c = AnyConnection();
  if (!c) return;
  const size_t call = NewCall();
  Trace("call ", call, ": admit c", *c);
  As(call, [&] {
    hub_->Admit(clients_[*c].id,
                [=, this](absl::StatusOr<ConnectionInfoPtr> info) {
                  const Outcome outcome = ToOutcome(info.status());
                  Trace("call ", call, " is answered: ", ToText(outcome));
                  spec_.Admitted(*c, outcome);
                });
  });
}

}  // namespace broker::races
