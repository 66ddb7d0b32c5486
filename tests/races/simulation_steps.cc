// What clients do, and the world.

#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/races/simulation.h"

namespace broker::races {
namespace {

constexpr const char* kRequest = R"({"jsonrpc":"2.0","id":1,"method":"m"})";

Outcome ToOutcome(int http_status) {
  return http_status == 101   ? Outcome::kOk
         : http_status == 401 ? Outcome::kUnauthorized
                              : Outcome::kOther;
}

}  // namespace

// ---- choosing ---------------------------------------------------------------

Who Simulation::AnyWho() {
  Who who{static_cast<uint8_t>(Below(kAccounts)),
          static_cast<Credential>(Below(kCredentials)),
          static_cast<Label>(Below(kLabels))};
  if (revoked_ && OneIn(3)) {
    if (revoked_->kind == TargetKind::kAccount) {
      who.account = revoked_->account;
    } else if (revoked_->kind != TargetKind::kFilter) {
      who.credential = revoked_->credential;
    }
  }
  return who;
}

uint64_t Simulation::AnyEpoch() {
  if (OneIn(64)) return hub_->epoch() + 1;  // nobody gave that out
  return OneIn(2) ? known_epochs_[Below(known_epochs_.size())] : hub_->epoch();
}

Target Simulation::AnyTarget() {
  Target target;
  target.kind = static_cast<TargetKind>(Below(4));
  target.account = static_cast<uint8_t>(Below(kAccounts));
  target.credential = target.kind == TargetKind::kToken ? Credential::kToken
                      : OneIn(2)                        ? Credential::kSession1
                                                        : Credential::kSession0;
  if (target.kind == TargetKind::kAccount && OneIn(3)) {
    target.keep = target.credential;
  }
  target.filter = static_cast<Filter>(Below(kFilters));
  if (OneIn(3)) target.ns = static_cast<uint8_t>(Below(kNamespaces));
  return target;
}

std::optional<size_t> Simulation::AnyFreeShard() {
  const size_t first = Below(kShards);
  for (size_t i = 0; i < kShards; ++i) {
    const size_t shard = (first + i) % kShards;
    if (!shards_[shard].busy) return shard;
  }
  return std::nullopt;
}

std::optional<size_t> Simulation::AnySocket() {
  const auto& all = spec_.connections();
  const size_t first = all.empty() ? 0 : Below(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    const size_t c = (first + i) % all.size();
    if (all[c].state != Specification::State::kGone &&
        !shards_[all[c].shard].busy && c < clients_.size()) {
      return c;
    }
  }
  return std::nullopt;
}

std::optional<size_t> Simulation::AnyConnection() {
  if (spared_ && OneIn(4)) return spared_;
  if (!OneIn(8)) {
    if (const auto c = AnySocket()) return c;
  }
  if (clients_.empty()) return std::nullopt;
  return Below(clients_.size());
}

// ---- clients ----------------------------------------------------------------

void Simulation::Connect() {
  const auto shard = AnyFreeShard();
  if (!shard) return;
  const auto ns = static_cast<uint8_t>(Below(kNamespaces));
  const size_t way = Below(attaches_ ? 8 : 4);
  if (way < 2 && !tickets_.empty()) {
    ConnectWithTicket(*shard, ns);
  } else if (way == 3) {
    ConnectWithCallout(*shard, ns);
  } else {
    const bool for_services = way > 3;
    // Where services are, more often than not.
    ConnectPending(*shard, for_services && OneIn(2) ? 0 : ns, for_services);
  }
}

void Simulation::ConnectWithTicket(size_t shard, uint8_t ns) {
  // The newest, or any: used ones too.
  const size_t t = OneIn(2) ? Below(tickets_.size()) : tickets_.size() - 1;
  if (!OneIn(8)) ns = tickets_[t].ns;
  HandshakeFacts facts;
  facts.path = absl::StrCat("/n", ns);
  facts.ticket = tickets_[t].secret;
  OnShard(shard, [&](Shard& s) {
    const uint64_t arrival = hub_->epoch();
    HandshakeAnswer answer = s.CheckHandshake(std::move(facts));
    Trace("shard ", shard, ": a client presents t", t, " in n", ns, ": ",
          answer.http_status);
    SeeEpochs();
    spec_.Presented(t, ns, ToOutcome(answer.http_status));
    if (answer.http_status != 101) return;
    const Who& who = tickets_[t].who;
    accepted_.push_back({shard, std::move(answer.handshake), ns, who,
                         tickets_[t].verified_at, arrival,
                         spec_.TakesPlace(ns, who)});
  });
}

void Simulation::ConnectPending(size_t shard, uint8_t ns, bool for_services) {
  HandshakeFacts facts;
  facts.path = absl::StrCat("/n", ns, for_services ? "/offered" : "");
  OnShard(shard, [&](Shard& s) {
    const uint64_t arrival = hub_->epoch();
    HandshakeAnswer answer = s.CheckHandshake(std::move(facts));
    Trace("shard ", shard, ": a client arrives in n", ns, " at ", arrival,
          for_services ? ", for services" : "", ": ", answer.http_status);
    const bool accepted = answer.http_status == 101;
    if (for_services) spec_.ArrivedForServices(ns, accepted);
    if (!accepted) return;
    accepted_.push_back({shard, std::move(answer.handshake), ns, std::nullopt,
                         arrival, arrival, std::nullopt, for_services});
  });
}

void Simulation::ConnectWithCallout(size_t shard, uint8_t ns) {
  HandshakeFacts facts;
  facts.path = absl::StrCat("/n", ns, "/asked");
  OnShard(shard, [&](Shard& s) {
    const uint64_t arrival = hub_->epoch();
    Trace("shard ", shard, ": a client arrives in n", ns, " at ", arrival,
          ", and the application is asked");
    asked_ = std::make_shared<std::optional<Who>>();
    const auto reply = [this, shard, ns, who = asked_,
                        arrival](HandshakeAnswer answer) {
      Trace("shard ", shard, ": the one that arrived at ", arrival,
            " gets its answer: ", answer.http_status);
      if (*who) {
        SeeEpochs();
        spec_.Decided(ns, **who, arrival, ToOutcome(answer.http_status));
      }
      if (answer.http_status != 101) return;
      accepted_.push_back({shard, std::move(answer.handshake), ns, *who,
                           arrival, arrival, spec_.TakesPlace(ns, **who)});
    };
    s.CheckHandshake(std::move(facts), reply);
  });
}

void Simulation::Authenticate(const HandshakeFacts&, const EndpointSettings&,
                              uint64_t,
                              absl::AnyInvocable<void(CalloutAnswer)> done) {
  questions_.push_back({std::exchange(asked_, nullptr), std::move(done)});
  // It may answer before it returns.
  if (OneIn(4)) AnswerCallout();
}

void Simulation::Open() {
  if (accepted_.empty()) return;
  const size_t at = Below(accepted_.size());
  const size_t shard = accepted_[at].shard;
  if (shards_[shard].busy) return;
  Accepted a = std::move(accepted_[at]);
  accepted_.erase(accepted_.begin() + static_cast<ptrdiff_t>(at));
  auto& sockets = shards_[shard].sockets;
  size_t slot = 0;
  while (slot < sockets.size() && sockets[slot]) ++slot;
  if (slot == sockets.size()) sockets.emplace_back();
  const size_t c = spec_.Opening(
      {shard, a.ns, a.who, a.verified_at, a.place, a.for_services});
  sockets[slot] = c;
  Trace("shard ", shard, ": c", c, " of ", ToText(a.who), " opens in n", a.ns);
  OnShard(shard, [&](Shard& s) {
    const ConnectionId id =
        s.OnOpen(static_cast<Slot>(slot), std::move(a.handshake));
    clients_.push_back({id, static_cast<Slot>(slot), a.arrival_epoch});
  });
}

// The socket is lost between the handshake and its end.
void Simulation::GiveUp() {
  if (accepted_.empty()) return;
  const size_t at = Below(accepted_.size());
  if (shards_[accepted_[at].shard].busy) return;
  Trace("a client gives up its handshake");
  if (accepted_[at].place) spec_.GivesUpPlace(*accepted_[at].place);
  accepted_.erase(accepted_.begin() + static_cast<ptrdiff_t>(at));
}

void Simulation::Speak() {
  const auto c = AnySocket();
  if (!c) return;
  // Even when it is closing: nothing may come of it then.
  Trace("c", *c, " sends a request");
  spec_.Message(*c);
  OnShard(spec_.connections()[*c].shard, [&](Shard& s) {
    s.OnMessage(clients_[*c].slot, Opcode::kText, kRequest);
  });
}

void Simulation::Leave() {
  const auto c = AnySocket();
  if (!c) return;
  const Specification::Connection& it = spec_.connections()[*c];
  const size_t shard = it.shard;
  const Slot slot = clients_[*c].slot;
  if (it.open() && OneIn(2)) {
    Trace("c", *c, " begins to close");
    spec_.ClientClosing(*c);
    OnShard(shard, [&](Shard& s) { s.OnClosing(slot, 1000); });
    return;
  }
  Trace("the socket of c", *c, " is gone");
  spec_.Gone(*c);
  shards_[shard].sockets[slot].reset();
  OnShard(shard, [&](Shard& s) { s.OnGone(slot, kAbnormalClosure); });
}

// ---- the world --------------------------------------------------------------

// The journal's thread writes all that waits, or cannot.
void Simulation::WriteJournal() {
  if (!journal_ || journal_->waiting() == 0) return;
  const bool fails = OneIn(8);
  Trace("the journal writes ", journal_->waiting(),
        fails ? " changes, and fails" : " changes");
  journal_->Write(fails ? absl::InternalError("full") : absl::OkStatus());
  SeeEpochs();
  spec_.EndStep();
}

void Simulation::PassTime() {
  if (depth_ != 0) return;  // no timer may be late
  static constexpr Milliseconds kSteps[] = {10, 1'000, 4'000, 11'000, 31'000};
  const Milliseconds d = attaches_ && OneIn(2) ? 4'000
                         : OneIn(16) ? Specification::kRetention + 1'000
                                     : kSteps[Below(std::size(kSteps))];
  Pass(d);
}

void Simulation::Pass(Milliseconds d) {
  Trace(d, " ms pass");
  clock_.Advance(absl::Milliseconds(d));
  spec_.PassTime(d);
  for (size_t i = 0; i < kShards; ++i) {
    OnShard(i, [&](Shard&) { transports_[i].Advance(clock_.Monotonic()); });
  }
  spec_.TimersRan();
}

void Simulation::Restart() {
  if (depth_ != 0 || !OneIn(3)) return;
  Trace("the broker is killed, and starts again");
  EndHub();
  clock_.Advance(absl::Seconds(1));
  spec_.PassTime(1'000);
  StartHub();
  spec_.Restart(hub_->epoch(), hub_->oldest_epoch(), journal_.has_value());
  known_epochs_.push_back(hub_->epoch());
}

}  // namespace broker::races
