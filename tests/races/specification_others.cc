// Places of accounts, and attached services.

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "tests/races/specification.h"

namespace broker::races {

// ---- places of accounts -----------------------------------------------------

size_t Specification::TakesPlace(uint8_t ns, const Who& who) {
  const auto others = [&](const Place& p) {
    return p.ns == ns && p.account == who.account && !p.left && !p.evicted;
  };
  const auto taken = static_cast<size_t>(
      std::count_if(places_.begin(), places_.end(), others));
  if (most_of_account_ != 0 && taken == most_of_account_) {
    std::find_if(places_.begin(), places_.end(), others)->evicted = true;
  }
  places_.push_back({ns, who.account});
  return places_.size() - 1;
}

void Specification::Admit(Connection& c) {
  if (c.state == State::kPending) c.place = TakesPlace(c.ns, *c.who);
  Become(c, State::kAdmitted);
}

// An evicted one is admitted until its shard has heard of it, and no longer.
void Specification::CheckPlaces() {
  std::array<size_t, kNamespaces * kAccounts> admitted{};
  for (size_t c = 0; c < connections_.size(); ++c) {
    const Connection& it = connections_[c];
    if (it.state != State::kAdmitted) continue;
    if (IsEvicted(it)) FailAt(c, "is evicted, and open");
    ++admitted[it.ns * kAccounts + it.who->account];
  }
  for (const size_t count : admitted) {
    if (most_of_account_ != 0 && count > most_of_account_) {
      Fail(absl::StrCat("an account has ", count, " connections"));
    }
  }
}

// ---- attached services ------------------------------------------------------

size_t Specification::Attaching(uint8_t ns, uint64_t credit) {
  services_.push_back({ns, credit});
  return services_.size() - 1;
}

void Specification::ArrivedForServices(uint8_t ns, bool accepted) {
  bool may_be = false;
  bool must_be = false;
  for (const Service& s : services_) {
    if (s.ns != ns || s.gone) continue;
    may_be = true;
    must_be |= s.attached;
  }
  if (accepted && !may_be) Fail("a handshake is accepted that nobody judges");
  if (!accepted && must_be) Fail("a handshake is refused, and a service waits");
}

void Specification::Offered(size_t s, size_t c, uint64_t epoch) {
  Service& service = services_[s];
  Connection& it = connections_[c];
  if (service.credit == 0) return FailAt(c, "is offered without credit");
  --service.credit;
  if (!AwaitsService(it)) return FailAt(c, "is offered, and waits for nobody");
  if (it.ns != service.ns) return FailAt(c, "is offered in another namespace");
  if (epoch != it.arrived_at) {
    FailAt(c, absl::StrCat("is offered as arrived at ", epoch, ", not at ",
                           it.arrived_at));
  }
  it.offered_to.push_back(s);
}

void Specification::Refusing(size_t s, size_t c) {
  Connection& it = connections_[c];
  if (services_[s].gone) return;
  it.may_be_refused = true;
  // No time has passed in which the offer could have gone to another.
  it.must_be_refused |= it.opened == now_;
}

bool Specification::HasCredit(uint8_t ns) const {
  return std::any_of(services_.begin(), services_.end(), [&](const auto& s) {
    return s.ns == ns && !s.gone && s.credit > 0;
  });
}

void Specification::Settled() {
  CheckPlaces();
  for (size_t c = 0; c < connections_.size(); ++c) {
    Connection& it = connections_[c];
    it.offers_settled = it.offered_to.size();
    if (!AwaitsService(it)) continue;
    if (it.must_be_refused) FailAt(c, "is refused, and open");
    const bool asked =
        std::any_of(it.offered_to.begin(), it.offered_to.end(),
                    [&](size_t s) { return !services_[s].gone; });
    if (!asked && HasCredit(it.ns)) {
      FailAt(c, "waits for a service, and one has credit");
    }
  }
}

void Specification::SettledAgain() {
  CheckPlaces();
  for (size_t c = 0; c < connections_.size(); ++c) {
    const Connection& it = connections_[c];
    if (AwaitsService(it) && it.offered_to.size() == it.offers_settled &&
        HasCredit(it.ns)) {
      FailAt(c, "was not answered in time, and is offered to nobody else");
    }
  }
}

}  // namespace broker::races
