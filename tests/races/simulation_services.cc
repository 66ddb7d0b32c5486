// What attached services do.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/races/simulation.h"

namespace broker::races {
namespace {

constexpr size_t kMostServices = 3;

}  // namespace

// Else most runs would be over before a service has something to judge.
void Simulation::BeginServing() {
  for (size_t i = Below(2) + 1; i > 0; --i) Attach();
  Settle();
  ReadAll();
  for (size_t i = Below(2) + 1; i > 0; --i) {
    ConnectPending(Below(kShards), /*ns=*/0, /*for_services=*/true);
    Open();
  }
}

void Simulation::Serve() {
  std::vector<size_t> alive;
  for (size_t s = 0; s < services_.size(); ++s) {
    if (!services_[s].gone) alive.push_back(s);
  }
  const size_t what = Below(10);
  if (alive.empty() || (what == 0 && alive.size() < kMostServices)) {
    return Attach();
  }
  const size_t s = alive[Below(alive.size())];
  if (what == 1) return AddCredit(s);
  if (what == 2) return Detach(s);
  while (Read(s) && OneIn(2)) {
  }
  // Later, or when it has been gone for long, at times.
  if (!OneIn(4)) AnswerOffer(OneIn(8) ? Below(services_.size()) : s);
}

void Simulation::Attach() {
  AttachSpec spec;
  const auto ns = static_cast<uint8_t>(OneIn(4));
  spec.ns = absl::StrCat("n", ns);
  spec.handshakes = true;
  const uint64_t credit = Below(4);
  const auto feed = std::make_shared<AttachFeed>(std::move(spec));
  const size_t s = spec_.Attaching(ns, credit);
  services_.emplace_back().feed = feed;
  const size_t call = NewCall();
  Trace("call ", call, ": service ", s, " attaches in n", ns, ", for ", credit,
        " handshakes");
  As(call, [&] { hub_->Attach(feed, credit); });
}

void Simulation::AddCredit(size_t s) {
  const uint64_t credit = 1 + Below(2);
  // It counts from the start on: control reads nothing before.
  if (!services_[s].started) return;
  Trace("service ", s, " takes ", credit, " handshakes more");
  spec_.Credited(s, credit);
  As(NewCall(),
     [&, feed = services_[s].feed] { hub_->AddHandshakeCredit(feed, credit); });
}

void Simulation::Detach(size_t s) {
  Trace("service ", s, " is gone");
  services_[s].gone = true;
  spec_.Detached(s);
  const AttachFeedPtr feed = services_[s].feed;
  feed->Cancel();
  As(NewCall(), [&] { hub_->Detach(feed); });
}

bool Simulation::Read(size_t s) {
  const AttachFeedPtr feed = services_[s].feed;
  AttachFeed::Next next = feed->TakeNext();
  if (next.item && next.item->kind == AttachFeed::Item::Kind::kStarted) {
    Trace("service ", s, " is attached");
    services_[s].started = true;
    spec_.Attached(s);
  } else if (next.item) {
    const ConnectionInfo& info = *next.item->handshake->info;
    const auto client =
        std::find_if(clients_.begin(), clients_.end(),
                     [&](const Client& c) { return c.id == info.id; });
    const auto c = static_cast<size_t>(client - clients_.begin());
    Trace("service ", s, " is offered c", c, ", which arrived at ", info.epoch);
    spec_.Offered(s, c, info.epoch);
    services_[s].offers.push_back({next.item->offer_id, c, info.epoch});
  }
  if (next.skipped > 0) {
    // As control does: what was answered before it was read costs no credit.
    As(NewCall(), [&] { hub_->AddHandshakeCredit(feed, next.skipped); });
  }
  return next.item.has_value() || next.skipped > 0;
}

bool Simulation::ReadAll() {
  bool any = false;
  for (size_t s = 0; s < services_.size(); ++s) {
    while (!services_[s].gone && !Failed() && Read(s)) any = true;
  }
  return any;
}

// With a binding, a refusal, or not at all. Who is gone may still bind.
void Simulation::AnswerOffer(size_t s) {
  auto& offers = services_[s].offers;
  if (offers.empty()) return;
  const size_t at = Below(offers.size());
  const Service::Offer offer = offers[at];
  offers.erase(offers.begin() + static_cast<ptrdiff_t>(at));
  const size_t c = offer.connection;
  switch (Below(8)) {
    case 6:
      Trace("service ", s, " ignores c", c);
      return;
    case 7: {
      // Its workers do not always agree.
      if (OneIn(2)) Bind(c, AnyWho(), /*hold=*/false, std::nullopt);
      const size_t call = NewCall();
      Trace("call ", call, ": service ", s, " refuses c", c);
      spec_.Refusing(s, c);
      As(call, [&, feed = services_[s].feed] {
        hub_->RefuseHandshake(feed, offer.id, "");
      });
      return;
    }
    default:
      const Who who = AnyWho();
      const bool hold = OneIn(4);
      // That of the offer, said or left out.
      Bind(c, who, hold, OneIn(2) ? std::optional(offer.epoch) : std::nullopt);
  }
}

}  // namespace broker::races
