#include "broker/hub/offers.h"

#include <utility>

namespace broker {

Offers::Delivery Offers::Prepare(const OfferRouter::Offer& offer) {
  ++offered_;
  return {feeds_.at(offer.service), offer.id, waiting_.at(offer.handshake)};
}

std::vector<Offers::Delivery> Offers::Prepare(
    const std::vector<OfferRouter::Offer>& offers) {
  std::vector<Delivery> deliveries;
  deliveries.reserve(offers.size());
  for (const OfferRouter::Offer& offer : offers) {
    deliveries.push_back(Prepare(offer));
  }
  return deliveries;
}

std::vector<Offers::Made> Offers::Deliver(std::vector<Delivery> deliveries) {
  std::vector<Made> made;
  for (Delivery& d : deliveries) {
    made.push_back({d.handshake->info->id, d.offer});
    d.feed->Offer(d.offer, std::move(d.handshake));
  }
  return made;
}

void Offers::Attach(const AttachFeedPtr& feed) {
  MutexLock lock(mu_);
  std::erase_if(attached_, [](const auto& f) { return f.expired(); });
  attached_.push_back(feed);
  if (!feed->spec().handshakes) return;
  const OfferRouter::ServiceId service = router_.Attach(feed->spec().ns);
  uint64_t none = 0;
  if (feed->service.compare_exchange_strong(none, service)) {
    feeds_[service] = feed;
  } else {
    // Gone already. It had no offer yet.
    router_.Detach(service);
  }
}

void Offers::FailAll(const absl::Status& status) {
  std::vector<AttachFeedPtr> feeds;
  {
    MutexLock lock(mu_);
    for (const auto& feed : attached_) {
      if (auto alive = feed.lock()) feeds.push_back(std::move(alive));
    }
  }
  for (const AttachFeedPtr& feed : feeds) feed->Fail(status);
}

std::vector<Offers::Made> Offers::AddCredit(const AttachFeedPtr& feed,
                                            uint64_t credit) {
  std::vector<Delivery> deliveries;
  {
    MutexLock lock(mu_);
    deliveries = Prepare(router_.AddCredit(feed->service, credit));
  }
  return Deliver(std::move(deliveries));
}

std::vector<Offers::Made> Offers::Detach(const AttachFeedPtr& feed) {
  std::vector<Delivery> deliveries;
  {
    MutexLock lock(mu_);
    const uint64_t service = feed->service.exchange(AttachFeed::kDetached);
    deliveries = Prepare(router_.Detach(service));
    feeds_.erase(service);
  }
  return Deliver(std::move(deliveries));
}

std::optional<ConnectionId> Offers::Find(OfferId offer,
                                         const AttachFeedPtr& feed) const {
  MutexLock lock(mu_);
  const auto handshake = router_.Find(offer, feed->service);
  if (!handshake) return std::nullopt;
  return waiting_.at(*handshake)->info->id;
}

bool Offers::HasServices(absl::string_view ns) const {
  MutexLock lock(mu_);
  return router_.HasServices(ns);
}

Offers::HandshakeId Offers::Add(WaitingHandshakePtr handshake,
                                std::optional<OfferId>& offer) {
  std::vector<Delivery> deliveries;
  HandshakeId id = 0;
  {
    MutexLock lock(mu_);
    std::optional<OfferRouter::Offer> made;
    id = router_.Add(handshake->info->ns, made);
    waiting_[id] = std::move(handshake);
    if (made) {
      offer = made->id;
      deliveries.push_back(Prepare(*made));
    }
  }
  Deliver(std::move(deliveries));
  return id;
}

std::optional<Offers::OfferId> Offers::Expire(OfferId offer) {
  std::vector<Delivery> deliveries;
  std::optional<OfferId> next;
  {
    MutexLock lock(mu_);
    if (router_.Stands(offer)) ++expired_;
    if (const auto made = router_.Expire(offer)) {
      next = made->id;
      deliveries.push_back(Prepare(*made));
    }
  }
  Deliver(std::move(deliveries));
  return next;
}

void Offers::Remove(HandshakeId handshake) {
  WaitingHandshakePtr dropped;  // without the lock
  MutexLock lock(mu_);
  router_.Remove(handshake);
  const auto it = waiting_.find(handshake);
  if (it == waiting_.end()) return;
  dropped = std::move(it->second);
  waiting_.erase(it);
}

Offers::Figures Offers::figures() const {
  MutexLock lock(mu_);
  uint64_t taking = 0;
  for (const auto& attached : attached_) {
    const AttachFeedPtr feed = attached.lock();
    taking += feed != nullptr && feed->accepts_messages();
  }
  return {feeds_.size(), taking, waiting_.size(), offered_, expired_};
}

}  // namespace broker
