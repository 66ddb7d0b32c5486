#include "broker/routing/offer_router.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace broker {

OfferRouter::ServiceId OfferRouter::Attach(absl::string_view ns) {
  const ServiceId id = next_++;
  services_[id].ns = std::string(ns);
  return id;
}

std::vector<OfferRouter::Offer> OfferRouter::AddCredit(ServiceId service,
                                                       uint64_t credit) {
  const auto it = services_.find(service);
  if (it == services_.end()) return {};
  it->second.credit += std::min(credit, kMaxCredit - it->second.credit);
  return OfferWaiting(it->second.ns);
}

std::vector<OfferRouter::Offer> OfferRouter::Detach(ServiceId service) {
  const auto it = services_.find(service);
  if (it == services_.end()) return {};
  const Service gone = std::move(it->second);
  services_.erase(it);
  for (const HandshakeId id : gone.open) {
    Handshake& handshake = handshakes_.at(id);
    offers_.erase(handshake.offer->id);
    handshake.offer.reset();
    handshake.offered.erase(service);
    waiting_[gone.ns].insert(id);
  }
  return OfferWaiting(gone.ns);
}

bool OfferRouter::HasServices(absl::string_view ns) const {
  return std::any_of(services_.begin(), services_.end(),
                     [ns](const auto& s) { return s.second.ns == ns; });
}

OfferRouter::HandshakeId OfferRouter::Add(absl::string_view ns,
                                          std::optional<Offer>& offer) {
  const HandshakeId id = next_++;
  handshakes_[id].ns = std::string(ns);
  waiting_[ns].insert(id);
  offer = TryOffer(id);
  return id;
}

std::optional<OfferRouter::Offer> OfferRouter::Expire(OfferId offer) {
  const auto it = offers_.find(offer);
  if (it == offers_.end()) return std::nullopt;
  const HandshakeId id = it->second;
  TakeBack(id, handshakes_.at(id));
  return TryOffer(id);
}

std::optional<OfferRouter::HandshakeId> OfferRouter::Find(
    OfferId offer, ServiceId service) const {
  const auto it = offers_.find(offer);
  if (it == offers_.end() ||
      handshakes_.at(it->second).offer->service != service) {
    return std::nullopt;
  }
  return it->second;
}

void OfferRouter::Remove(HandshakeId id) {
  const auto it = handshakes_.find(id);
  if (it == handshakes_.end()) return;
  if (it->second.offer) TakeBack(id, it->second);
  const auto waiting = waiting_.find(it->second.ns);
  waiting->second.erase(id);
  if (waiting->second.empty()) waiting_.erase(waiting);
  handshakes_.erase(it);
}

void OfferRouter::TakeBack(HandshakeId id, Handshake& handshake) {
  services_.at(handshake.offer->service).open.erase(id);
  offers_.erase(handshake.offer->id);
  handshake.offer.reset();
  waiting_[handshake.ns].insert(id);
}

OfferRouter::Service* OfferRouter::Choose(const Handshake& handshake,
                                          ServiceId& id) {
  const auto rank = [&](ServiceId s, const Service& service) {
    const auto offered = handshake.offered.find(s);
    return std::tuple(offered == handshake.offered.end() ? 0 : offered->second,
                      service.open.size(), kMaxCredit - service.credit,
                      service.last_offer, s);
  };
  Service* best = nullptr;
  for (auto& [candidate, service] : services_) {
    if (service.ns != handshake.ns || service.credit == 0) continue;
    if (best == nullptr || rank(candidate, service) < rank(id, *best)) {
      best = &service;
      id = candidate;
    }
  }
  return best;
}

std::optional<OfferRouter::Offer> OfferRouter::TryOffer(HandshakeId id) {
  Handshake& handshake = handshakes_.at(id);
  ServiceId chosen = 0;
  Service* const service = Choose(handshake, chosen);
  if (service == nullptr) return std::nullopt;
  --service->credit;
  service->open.insert(id);
  service->last_offer = next_;
  ++handshake.offered[chosen];
  handshake.offer = Offer{next_++, id, chosen};
  offers_[handshake.offer->id] = id;
  const auto waiting = waiting_.find(handshake.ns);
  waiting->second.erase(id);
  if (waiting->second.empty()) waiting_.erase(waiting);
  return handshake.offer;
}

std::vector<OfferRouter::Offer> OfferRouter::OfferWaiting(
    const std::string& ns) {
  std::vector<Offer> offers;
  for (;;) {
    const auto waiting = waiting_.find(ns);
    if (waiting == waiting_.end()) return offers;
    const std::optional<Offer> offer = TryOffer(*waiting->second.begin());
    if (!offer) return offers;
    offers.push_back(*offer);
  }
}

}  // namespace broker
