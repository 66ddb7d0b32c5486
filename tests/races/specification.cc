#include "tests/races/specification.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace broker::races {

std::string ToText(Outcome outcome) {
  static constexpr const char* kNames[] = {
      "OK",          "401",          "CREDENTIAL_REVOKED", "EPOCH_TOO_OLD",
      "ahead",       "NOT_FOUND",    "ALREADY_BOUND",      "NOT_BOUND",
      "UNAVAILABLE", "another error"};
  return kNames[static_cast<int>(outcome)];
}

void Specification::Fail(const std::string& what) {
  if (violation_.empty()) violation_ = what;
}

std::string Specification::Describe(size_t c) const {
  static constexpr const char* kStates[] = {"pending", "admitted", "closing",
                                            "gone"};
  const Connection& it = connections_[c];
  return absl::StrCat("c", c, " (", kStates[static_cast<int>(it.state)], ", n",
                      it.ns, ", ", ToText(it.who), ", verified at ",
                      it.verified_at, ")");
}

void Specification::FailAt(size_t c, const std::string& what) {
  if (violation_.empty()) Fail(absl::StrCat(Describe(c), " ", what));
}

// ---- the world --------------------------------------------------------------

void Specification::Start(uint64_t epoch, size_t most_of_account) {
  violation_.clear();
  now_ = 0;
  epoch_ = oldest_ = first_epoch_ = epoch;
  step_ = 1;
  removals_ = 0;
  closed_.clear();
  tickets_.clear();
  connections_.clear();
  revocations_.clear();
  most_of_account_ = most_of_account;
  places_.clear();
  services_.clear();
}

bool Specification::MayBeThatOld(uint64_t oldest) const {
  if (oldest <= first_epoch_) return true;
  return std::any_of(
      revocations_.begin(), revocations_.end(), [&](const Revocation& r) {
        return r.what.fence && r.by_key() && now_ >= r.asked + kRetention &&
               (!r.answered || oldest <= r.epoch);
      });
}

void Specification::SeeEpochs(uint64_t current, uint64_t oldest) {
  if (current < epoch_) Fail("the epoch went back");
  if (oldest < oldest_) Fail("the oldest epoch went back");
  if (oldest != oldest_ && !MayBeThatOld(oldest)) {
    Fail(absl::StrCat("epochs before ", oldest,
                      " are refused, and no fence has run its time"));
  }
  epoch_ = current;
  oldest_ = oldest;
}

void Specification::Restart(uint64_t epoch, uint64_t oldest, bool durable) {
  if (epoch < epoch_) Fail("the epoch went back with a restart");
  for (Connection& c : connections_) c.state = State::kGone;
  for (Place& p : places_) p.left = true;
  for (Service& s : services_) s.gone = true;
  // Tickets are not kept.
  for (Ticket& t : tickets_) t.used = true;
  for (Revocation& r : revocations_) {
    r.over |= !durable;
    r.lost = true;
    // Said to be gone with the run, so nothing is asked of it any more.
    if (durable && r.answered && !r.written) {
      r.over = true;
      r.what.fence = false;
    }
  }
  epoch_ = epoch;
  // What the run before forgot last may not have been written.
  oldest_ = durable ? std::min(oldest_, oldest) : epoch;
  if (!durable) first_epoch_ = epoch;
  removals_ = 0;
}

// ---- what may and must be refused -------------------------------------------

// Answered, and not asked to be lifted: promise 1 and 2 of the design.
bool Specification::MustRefuse(const Revocation& r, uint8_t ns, const Who& who,
                               uint64_t verified_at) const {
  if (!r.answered || !r.what.fence || r.lifts > 0) return false;
  if (!Covers(r.what.target, ns, who)) return false;
  // One that was lost with its run still refuses what was verified before.
  const bool by_epoch = r.by_key() && verified_at < r.epoch;
  return by_epoch || (!r.over && r.MustBlock(now_));
}

bool Specification::MayRefuse(uint8_t ns, const Who& who,
                              uint64_t verified_at) const {
  return std::any_of(
      revocations_.begin(), revocations_.end(), [&](const Revocation& r) {
        if (r.over || !r.what.fence || !Covers(r.what.target, ns, who)) {
          return false;
        }
        const bool by_epoch =
            r.by_key() && (!r.answered || verified_at < r.epoch);
        return by_epoch || r.MayBlock(now_);
      });
}

void Specification::Decided(uint8_t ns, const Who& who, uint64_t verified_at,
                            Outcome outcome) {
  const auto fail = [&](const std::string& why) {
    Fail(absl::StrCat("a binding of ", ToText(std::optional(who)), " in n", ns,
                      ", verified at ", verified_at, ": ", ToText(outcome),
                      " though ", why));
  };
  const bool too_old = verified_at < oldest_;
  const bool ahead = verified_at > epoch_;
  switch (outcome) {
    case Outcome::kOk:
      if (too_old || ahead) return fail("its epoch is out of range");
      for (size_t r = 0; r < revocations_.size(); ++r) {
        if (MustRefuse(revocations_[r], ns, who, verified_at)) {
          return fail(absl::StrCat("r", r, " refuses it"));
        }
      }
      return;
    case Outcome::kUnauthorized:
      if (too_old || MayRefuse(ns, who, verified_at)) return;
      return fail("nothing refuses it");
    case Outcome::kRevoked:
      if (MayRefuse(ns, who, verified_at)) return;
      return fail("no revocation refuses it");
    case Outcome::kTooOld:
      if (too_old) return;
      return fail(absl::StrCat("the oldest epoch is ", oldest_));
    case Outcome::kAhead:
      if (ahead) return;
      return fail(absl::StrCat("the epoch is ", epoch_));
    default:
      return fail("that is no answer to a binding");
  }
}

// ---- tickets ----------------------------------------------------------------

void Specification::Minted(uint8_t ns, Who who, uint64_t verified_at,
                           Milliseconds ttl, Outcome outcome) {
  const Outcome expected = verified_at > epoch_    ? Outcome::kAhead
                           : verified_at < oldest_ ? Outcome::kTooOld
                                                   : Outcome::kOk;
  if (outcome != expected) {
    Fail(absl::StrCat("a ticket verified at ", verified_at, " is minted with ",
                      ToText(outcome), ", not ", ToText(expected)));
  }
  if (outcome == Outcome::kOk) {
    tickets_.push_back({ns, who, verified_at, now_ + ttl});
  }
}

void Specification::Presented(size_t ticket, uint8_t ns, Outcome outcome) {
  Ticket& t = tickets_[ticket];
  if (!t.used && now_ < t.expires && t.ns == ns) {
    t.used = true;
    return Decided(ns, t.who, t.verified_at, outcome);
  }
  if (outcome != Outcome::kUnauthorized) {
    Fail(absl::StrCat("ticket t", ticket, " is used, expired or of another ",
                      "namespace, and its handshake got ", ToText(outcome)));
  }
}

// ---- connections ------------------------------------------------------------

void Specification::Become(Connection& c, State state) {
  if (state == State::kClosing && c.open()) {
    c.closed_in_step = step_;
    c.closed_from = c.state;
  }
  if (c.place && state != State::kAdmitted) GivesUpPlace(*c.place);
  c.state = state;
}

void Specification::Changed(size_t c, const std::optional<Who>& before) {
  Connection& it = connections_[c];
  it.who_before = before;
  it.changed_in_step = step_;
  for (Revocation& r : revocations_) {
    if (!r.answered) std::erase(r.covered, c);
    // Before that it may have changed before the close excluded it.
    if (r.answered && r.what.spared == c && Enters(r, it)) r.entered = true;
  }
}

bool Specification::Enters(const Revocation& r, const Connection& it) const {
  return it.changed_in_step == step_ && Covers(r.what.target, it.ns, it.who) &&
         !Covers(r.what.target, it.ns, it.who_before);
}

size_t Specification::Opening(const Arrival& arrival) {
  Connection& c = connections_.emplace_back();
  c.shard = arrival.shard;
  c.ns = arrival.ns;
  c.who = arrival.who;
  c.verified_at = c.arrived_at = arrival.verified_at;
  c.place = arrival.place;
  c.for_services = arrival.for_services;
  c.state = c.who ? State::kAdmitted : State::kPending;
  c.opened = now_;
  c.opened_in_step = step_;
  return connections_.size() - 1;
}

void Specification::Bound(size_t c, const Who& who, uint64_t verified_at,
                          bool hold, Outcome outcome) {
  Connection& it = connections_[c];
  if (outcome == Outcome::kEnded) return;
  if (!it.open()) {
    if (outcome != Outcome::kNotFound) {
      FailAt(c, absl::StrCat("is bound: ", ToText(outcome)));
    }
    return;
  }
  const bool other = it.who && *it.who != who;
  if (other != (outcome == Outcome::kAlreadyBound)) {
    return FailAt(c, absl::StrCat("is bound to ", ToText(std::optional(who)),
                                  ": ", ToText(outcome)));
  }
  if (other) return;
  Decided(it.ns, who, verified_at, outcome);
  if (outcome != Outcome::kOk) return;
  if (!it.who) {
    it.who = who;
    it.verified_at = verified_at;
    Changed(c, std::nullopt);
  }
  it.verified_at = std::max(it.verified_at, verified_at);
  if (!hold) Admit(it);
}

void Specification::Admitted(size_t c, Outcome outcome) {
  Connection& it = connections_[c];
  if (outcome == Outcome::kEnded) return;
  const Outcome expected = !it.open() ? Outcome::kNotFound
                           : !it.who  ? Outcome::kNotBound
                                      : Outcome::kOk;
  if (outcome != expected) {
    FailAt(c, absl::StrCat("is admitted: ", ToText(outcome)));
  }
  if (outcome == Outcome::kOk) Admit(it);
}

void Specification::Updated(size_t c, Label label, Outcome outcome) {
  Connection& it = connections_[c];
  if (outcome == Outcome::kEnded) return;
  const Outcome expected = !it.was_open(step_) ? Outcome::kNotFound
                           : !it.who           ? Outcome::kNotBound
                                               : Outcome::kOk;
  if (outcome != expected) {
    FailAt(c, absl::StrCat("is updated: ", ToText(outcome)));
  }
  if (outcome != Outcome::kOk || it.who->label == label) return;
  ChangeLabel(c, label);
}

void Specification::ChangeLabel(size_t c, Label label) {
  const std::optional<Who> before = connections_[c].who;
  connections_[c].who->label = label;
  Changed(c, before);
}

uint64_t Specification::UpdatedFiltered(size_t shard, uint8_t ns, Filter filter,
                                        Label label) {
  uint64_t updated = 0;
  for (size_t c = 0; c < connections_.size(); ++c) {
    const Connection& it = connections_[c];
    if (!it.was_open(step_) || it.shard != shard || it.ns != ns || !it.who ||
        !Matches(filter, it.who) || it.who->label == label) {
      continue;
    }
    ChangeLabel(c, label);
    ++updated;
  }
  return updated;
}

void Specification::Removed(size_t c, bool removed) {
  const Connection& it = connections_[c];
  const bool did = it.close_code == CloseCode::kRemoved &&
                   it.closed_in_step == step_ && removals_ > 0;
  if (removed != did) {
    return FailAt(c, removed ? "was answered as removed, and was not"
                             : "was removed, and answered as not");
  }
  if (did) --removals_;
  if (!did && it.open()) FailAt(c, "is open, and was not removed");
}

void Specification::Message(size_t c) {
  if (connections_[c].open()) ++connections_[c].requests;
}

void Specification::ClientClosing(size_t c) {
  if (connections_[c].open()) Become(connections_[c], State::kClosing);
}

void Specification::Gone(size_t c) { Become(connections_[c], State::kGone); }

uint64_t Specification::admitted(size_t shard, uint8_t ns) const {
  return static_cast<uint64_t>(std::count_if(
      connections_.begin(), connections_.end(), [&](const Connection& c) {
        return c.shard == shard && c.ns == ns && c.state == State::kAdmitted;
      }));
}

}  // namespace broker::races
