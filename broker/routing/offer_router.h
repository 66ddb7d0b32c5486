// OfferRouter: which attached service gets which handshake. A service takes as
// many offers as it has credit for; an offer that it does not answer goes to
// the next one; what nobody can take now waits.
//
// Pure bookkeeping: it sends nothing and keeps no time. Not thread-safe.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/node_hash_map.h"
#include "absl/strings/string_view.h"

namespace broker {

class OfferRouter {
 public:
  using ServiceId = uint64_t;
  using HandshakeId = uint64_t;  // one that wants to be judged
  using OfferId = uint64_t;      // of one handshake to one service, once

  // More credit than that is taken as that.
  static constexpr uint64_t kMaxCredit = 10'000;

  // A handshake is offered to a service.
  struct Offer {
    OfferId id;
    HandshakeId handshake;
    ServiceId service;
  };

  // ---- services ----

  ServiceId Attach(absl::string_view ns);
  // Lets the service take so many offers more; returns those that it gets now.
  std::vector<Offer> AddCredit(ServiceId service, uint64_t credit);
  // What the service has not answered goes to others at once.
  std::vector<Offer> Detach(ServiceId service);
  bool HasServices(absl::string_view ns) const;

  // ---- handshakes ----

  // A new one. `offer` is nothing when it has to wait.
  HandshakeId Add(absl::string_view ns, std::optional<Offer>& offer);
  // The time for the offer is over: it goes to the service with credit that it
  // has been offered to least often. Nothing when there is no such offer any
  // more, or when the handshake has to wait.
  std::optional<Offer> Expire(OfferId offer);
  // The handshake of an offer that stands, to that service.
  std::optional<HandshakeId> Find(OfferId offer, ServiceId service) const;
  bool Stands(OfferId offer) const { return offers_.contains(offer); }
  // It has been answered, or its client is gone.
  void Remove(HandshakeId handshake);

 private:
  struct Service {
    std::string ns;
    uint64_t credit = 0;
    absl::flat_hash_set<HandshakeId> open;  // offered, not answered
    uint64_t last_offer = 0;
  };
  struct Handshake {
    std::string ns;
    std::optional<Offer> offer;                        // none: it waits
    absl::flat_hash_map<ServiceId, uint32_t> offered;  // how often
  };

  // Takes its offer back, and leaves it waiting.
  void TakeBack(HandshakeId id, Handshake& handshake);
  // Of the namespace, with credit: the one that it was offered to least often,
  // then the one with the fewest open offers, then with the most credit, then
  // the one whose turn it is. Null: there is none.
  Service* Choose(const Handshake& handshake, ServiceId& id);
  std::optional<Offer> TryOffer(HandshakeId id);
  // Offers what waits, the oldest first.
  std::vector<Offer> OfferWaiting(const std::string& ns);

  uint64_t next_ = 1;
  absl::flat_hash_map<ServiceId, Service> services_;
  absl::node_hash_map<HandshakeId, Handshake> handshakes_;
  absl::flat_hash_map<OfferId, HandshakeId> offers_;
  absl::flat_hash_map<std::string, absl::btree_set<HandshakeId>> waiting_;
};

}  // namespace broker
