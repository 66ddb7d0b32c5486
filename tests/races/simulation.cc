#include "tests/races/simulation.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/filter/compiler.h"
#include "broker/filter/text_parser.h"

namespace broker::races {
namespace {

constexpr size_t kFewestSteps = 15;
constexpr size_t kMostSteps = 40;
constexpr int kDeepest = 2;
constexpr const char* kNames[kNamespaces] = {"n0", "n1"};

// Three endpoints for each namespace: "/n0" for tickets and pending
// connections,
// "/n0/asked" for the callout, "/n0/offered" for attached services.
SettingsPtr MakeSettings(size_t most_of_account) {
  auto settings = std::make_shared<Settings>();
  settings->limits.max_connections_per_account = most_of_account;
  settings->limits.account_policy = AccountPolicy::kEvictOldest;
  for (const char* name : kNames) {
    EndpointSettings endpoint;
    endpoint.ns = name;
    endpoint.path = absl::StrCat("/", name);
    endpoint.allow_pending = true;
    endpoint.pending_timeout =
        std::chrono::milliseconds(Specification::kPendingTimeout);
    settings->endpoints.push_back(endpoint);
    endpoint.allow_pending = false;
    endpoint.path = absl::StrCat("/", name, "/asked");
    endpoint.allow_callout = true;
    settings->endpoints.push_back(endpoint);
    endpoint.path = absl::StrCat("/", name, "/offered");
    endpoint.allow_callout = false;
    endpoint.allow_attach = true;
    endpoint.offer_timeout =
        std::chrono::milliseconds(Specification::kOfferTimeout);
    settings->endpoints.push_back(endpoint);
  }
  return settings;
}

}  // namespace

Simulation::Simulation() : message_(Frame::Encode(Opcode::kText, "{}")) {
  for (size_t most = 0; most <= kMostOfAccount; ++most) {
    settings_.push_back(MakeSettings(most));
  }
  for (int i = 0; i < kAccounts * kCredentials * kLabels; ++i) {
    const auto credential = static_cast<Credential>(i / kLabels % kCredentials);
    IdentityFields fields;
    fields.account_id = absl::StrCat("a", i / (kLabels * kCredentials));
    if (credential == Credential::kSession0) fields.token_hash = "s0";
    if (credential == Credential::kSession1) fields.token_hash = "s1";
    if (credential == Credential::kToken) fields.api_token_id = "t0";
    const auto label = static_cast<Label>(i % kLabels);
    if (label != Label::kAbsent) {
      fields.labels = {{"l", label == Label::kX ? "x" : "y"}};
    }
    identities_.push_back(Identity::Make(fields));
  }
  for (const char* text : kFilterTexts) {
    predicates_.push_back(*CompileFilter(*ParseFilter(text)));
  }
}

Simulation::~Simulation() { EndHub(); }

IdentityPtr Simulation::IdentityOf(const Who& who) const {
  return identities_[(who.account * kCredentials +
                      static_cast<size_t>(who.credential)) *
                         kLabels +
                     static_cast<size_t>(who.label)];
}

RevocationTarget Simulation::ToTarget(const Target& target) const {
  RevocationTarget to;
  switch (target.kind) {
    case TargetKind::kSession:
      to.kind = RevocationTarget::Kind::kSession;
      to.key = target.credential == Credential::kSession0 ? "s0" : "s1";
      break;
    case TargetKind::kToken:
      to.kind = RevocationTarget::Kind::kToken;
      to.key = "t0";
      break;
    case TargetKind::kAccount:
      to.kind = RevocationTarget::Kind::kAccount;
      to.key = absl::StrCat("a", target.account);
      if (target.keep) {
        to.keep_token_hash =
            *target.keep == Credential::kSession0 ? "s0" : "s1";
      }
      break;
    case TargetKind::kFilter:
      to.kind = RevocationTarget::Kind::kFilter;
      to.predicate = predicates_[static_cast<size_t>(target.filter)];
      break;
  }
  if (target.ns) to.namespaces = {kNames[*target.ns]};
  return to;
}

// ---- the hub ----------------------------------------------------------------

void Simulation::StartHub() {
  ending_ = false;
  Transport* pointers[kShards];
  for (size_t i = 0; i < kShards; ++i) {
    transports_[i].Start(clock_.Monotonic());
    pointers[i] = &transports_[i];
  }
  hub_ = std::make_unique<Hub>(
      pointers, settings_[most_of_account_], clock_,
      journal_ ? journal_->Past(clock_) : JournalPast::None(clock_),
      journal_ ? &*journal_ : nullptr);
  hub_->SetCallout(this);
  for (Shard* shard : hub_->shards()) shard->BindToThisThread();
}

// As at kill -9: nothing is run any more.
void Simulation::EndHub() {
  ending_ = true;
  accepted_.clear();
  questions_.clear();
  for (Service& service : services_) service.gone = true;
  for (ShardState& shard : shards_) {
    while (!shard.tasks.empty()) shard.tasks.pop_front();
    shard.sockets.clear();
  }
  if (journal_) journal_->Crash();
  hub_.reset();
}

// ---- running ----------------------------------------------------------------

std::string Simulation::Run(Choices& choices, std::vector<std::string>* trace) {
  choices_ = &choices;
  trace_ = trace;
  depth_ = 0;
  call_.reset();
  clock_ = testing::FakeClock();
  calls_.clear();
  tickets_.clear();
  clients_.clear();
  bindings_.clear();
  spared_.reset();
  revoked_.reset();
  revocation_ids_.clear();
  services_.clear();
  journal_.reset();
  if (OneIn(2)) journal_.emplace();
  most_of_account_ = Below(2) == 0 ? 0 : Below(kMostOfAccount + 1);
  attaches_ = OneIn(2);
  StartHub();
  spec_.Start(hub_->epoch(), most_of_account_);
  known_epochs_ = {hub_->epoch()};
  if (attaches_) BeginServing();
  const size_t steps = kFewestSteps + Below(kMostSteps - kFewestSteps + 1);
  for (size_t i = 0; i < steps && !Failed(); ++i) Step();
  if (!Failed()) Finish();
  std::string violation = spec_.violation();
  EndHub();
  return violation;
}

void Simulation::Finish() {
  Settle();
  while (!Failed() && ReadAll()) Settle();
  if (Failed()) return;
  spec_.Settled();
  CheckStates();
  std::vector<uint64_t> epochs;
  for (const FencePtr& f : hub_->ListRevocations(std::nullopt, 0, 1'000)) {
    epochs.push_back(f->epoch);
  }
  spec_.Listed(epochs);
  if (attaches_) FinishOffers();
}

// Every offer that stands goes to another service, when there is one.
void Simulation::FinishOffers() {
  Pass(Specification::kOfferTimeout + Specification::kTick);
  Settle();
  while (!Failed() && ReadAll()) Settle();
  if (!Failed()) spec_.SettledAgain();
}

// All that is under way comes to its end, in any order.
void Simulation::Settle() {
  static_assert(kShards == 2);
  const auto waiting = [&](size_t shard) {
    return !shards_[shard].tasks.empty();
  };
  for (;;) {
    if (Failed()) return;
    const size_t next = Below(kShards + 1);
    if (next < kShards && waiting(next)) {
      RunTask(next);
    } else if (!accepted_.empty()) {
      Open();
    } else if (waiting(0) || waiting(1)) {
      RunTask(waiting(0) ? 0 : 1);
    } else if (journal_ && journal_->waiting() != 0) {
      WriteJournal();
    } else {
      return;
    }
  }
}

// What each shard says of each connection is what the specification thinks.
void Simulation::CheckStates() {
  for (size_t c = 0; c < clients_.size(); ++c) {
    using State = Specification::State;
    const Specification::Connection& it = spec_.connections()[c];
    const auto found = hub_->shards()[it.shard]->Get(clients_[c].id);
    State state = State::kGone;
    if (found.ok()) {
      const ConnectionState s = found->info->state;
      state = s == ConnectionState::kPending    ? State::kPending
              : s == ConnectionState::kAdmitted ? State::kAdmitted
                                                : State::kClosing;
      if (it.open() && it.who &&
          (found->info->identity == nullptr ||
           *found->info->identity != *IdentityOf(*it.who))) {
        spec_.Disagree(c, "has another identity");
      }
    }
    if (state != it.state) spec_.Disagree(c, "is in another state");
  }
}

void Simulation::Posted(size_t shard, absl::AnyInvocable<void()> task) {
  if (ending_) return;
  // Whoever posts is on a thread of its own: others go on meanwhile. Not where
  // places are limited and a shard may be just taking one: who takes the next
  // would be known before it.
  const bool taking =
      most_of_account_ != 0 && (shards_[0].busy || shards_[1].busy);
  if (!taking && depth_ < kDeepest && !Failed() && OneIn(4)) {
    const auto call = std::exchange(call_, std::nullopt);
    ++depth_;
    Step();
    --depth_;
    call_ = call;
  }
  shards_[shard].tasks.push_back({std::move(task), call_});
}

void Simulation::EndStep(size_t shard) {
  SeeEpochs();
  spec_.EndStep();
  for (uint8_t ns = 0; ns < kNamespaces; ++ns) {
    static const std::string kNamed[] = {kNames[0], kNames[1]};
    spec_.Counted("admitted",
                  hub_->shards()[shard]->Count(kNamed[ns], *Predicate::All()),
                  spec_.admitted(shard, ns));
  }
}

void Simulation::RunTask(size_t shard) {
  Task task = std::move(shards_[shard].tasks.front());
  shards_[shard].tasks.pop_front();
  Trace("shard ", shard, " runs a task",
        task.call ? absl::StrCat(" of call ", *task.call) : "");
  call_ = task.call;
  OnShard(shard, [&](Shard&) {
    task.run();
    if (task.call && calls_[*task.call].update) {
      const Call::BulkUpdate& update = *calls_[*task.call].update;
      Call& call = calls_[*task.call];
      call.updated +=
          spec_.UpdatedFiltered(shard, update.ns, update.filter, update.label);
      if (call.said_updated) {
        spec_.Counted("updated", *call.said_updated, call.updated);
      }
    }
  });
  call_.reset();
}

void Simulation::Step() {
  using Action = void (Simulation::*)();
  static constexpr int kServing = 40;
  static constexpr std::pair<int, Action> kActions[] = {
      // First, since it is what a replay does behind its end.
      {1, &Simulation::Idle},
      {14, &Simulation::Connect},
      {12, &Simulation::Open},
      {1, &Simulation::GiveUp},
      {4, &Simulation::Speak},
      {5, &Simulation::Leave},
      {6, &Simulation::AnswerCallout},
      {4, &Simulation::ReadEpoch},
      {8, &Simulation::Mint},
      {9, &Simulation::Bind},
      {3, &Simulation::RepeatBind},
      {4, &Simulation::Admit},
      {4, &Simulation::Update},
      {4, &Simulation::UpdateFiltered},
      {16, &Simulation::Revoke},
      {4, &Simulation::Lift},
      {2, &Simulation::Remove},
      {3, &Simulation::Send},
      {4, &Simulation::PassTime},
      {8, &Simulation::WriteJournal},
      {1, &Simulation::Restart},
      // Last, for runs without it.
      {kServing, &Simulation::Serve},
  };
  constexpr int kActing = [] {
    int sum = 0;
    for (const auto& [weight, action] : kActions) sum += weight;
    return sum;
  }();
  ++steps_;
  if (OneIn(2)) {
    const auto shard = AnyFreeShard();
    if (shard && !shards_[*shard].tasks.empty()) return RunTask(*shard);
  }
  int at = static_cast<int>(Below(attaches_ ? kActing : kActing - kServing));
  for (const auto& [weight, action] : kActions) {
    if (at < weight) return (this->*action)();
    at -= weight;
  }
}

// ---- what the broker does to sockets ----------------------------------------

SendResult Simulation::Sent(size_t shard, Slot slot, const FramePtr& frame) {
  const size_t c = *shards_[shard].sockets[slot];
  const bool reply = frame != message_;
  const bool too_slow = !reply && OneIn(16);
  spec_.Sent(c, reply, too_slow);
  if (!reply && call_) ++calls_[*call_].sent;
  return too_slow ? SendResult::kTooSlow : SendResult::kQueued;
}

void Simulation::Closed(size_t shard, Slot slot, CloseCode code, bool drains) {
  spec_.Closed(*shards_[shard].sockets[slot], code, drains,
               call_ ? calls_[*call_].revocation : std::nullopt);
}

}  // namespace broker::races
