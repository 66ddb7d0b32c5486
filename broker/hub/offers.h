// Offers: the handshakes that wait for attached services, and those services,
// over all shards.
//
// Thread-safe: it is shared by the shards, and therefore locked. What is
// decided under the lock is told to the feeds without it.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "broker/core/metrics.h"
#include "broker/core/mutex.h"
#include "broker/hub/attach_feed.h"
#include "broker/routing/offer_router.h"

namespace broker {

class Offers {
 public:
  using HandshakeId = OfferRouter::HandshakeId;
  using OfferId = OfferRouter::OfferId;

  // An offer that was made: its time begins, on the connection's shard.
  struct Made {
    ConnectionId connection;
    OfferId offer;
  };

  // ---- by the hub ----

  // From now on it gets handshakes, if it wants some, with AddCredit.
  void Attach(const AttachFeedPtr& feed);
  // Ends every feed.
  void FailAll(const absl::Status& status);
  std::vector<Made> AddCredit(const AttachFeedPtr& feed, uint64_t credit);
  std::vector<Made> Detach(const AttachFeedPtr& feed);
  // The connection of an offer that stands, to that service.
  std::optional<ConnectionId> Find(OfferId offer,
                                   const AttachFeedPtr& feed) const;

  // ---- by the shards ----

  // Whether anybody judges handshakes of the namespace.
  bool HasServices(absl::string_view ns) const;
  // A handshake that waits until Remove. `offer`: it has been offered.
  HandshakeId Add(WaitingHandshakePtr handshake, std::optional<OfferId>& offer);
  // The time of an offer is over; returns the next one, when there is one now.
  std::optional<OfferId> Expire(OfferId offer);
  void Remove(HandshakeId handshake);

  // ---- figures ----

  struct Figures {
    uint64_t services = 0;  // that judge handshakes
    uint64_t taking = 0;    // services that take messages
    uint64_t waiting = 0;   // handshakes, offered or not
    uint64_t offered = 0;   // offers ever made
    uint64_t expired = 0;   // of those, how many were not answered in time
  };
  Figures figures() const;

 private:
  struct Delivery {
    AttachFeedPtr feed;
    OfferId offer;
    WaitingHandshakePtr handshake;
  };
  Delivery Prepare(const OfferRouter::Offer& offer)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::vector<Delivery> Prepare(const std::vector<OfferRouter::Offer>& offers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static std::vector<Made> Deliver(std::vector<Delivery> deliveries);

  mutable Mutex mu_;
  OfferRouter router_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<OfferRouter::ServiceId, AttachFeedPtr> feeds_
      ABSL_GUARDED_BY(mu_);
  std::vector<std::weak_ptr<AttachFeed>> attached_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<HandshakeId, WaitingHandshakePtr> waiting_
      ABSL_GUARDED_BY(mu_);
  uint64_t offered_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t expired_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace broker
