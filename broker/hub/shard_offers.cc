// What attached services are told by a shard, and the handshakes that they
// judge.

#include <algorithm>
#include <utility>

#include "broker/hub/shard.h"

namespace broker {

Shard::Waiting::Waiting(Offers& the_offers, WaitingHandshakePtr the_handshake)
    : offers(the_offers), handshake(std::move(the_handshake)) {
  id = offers.Add(handshake, offer);
}

Shard::Waiting::~Waiting() {
  // First: nobody is to be told of it any more.
  handshake->answered = true;
  offers.Remove(id);
}

void Shard::Attach(const AttachFeedPtr& feed) {
  on_shard_.AssertHeld();
  std::erase_if(attached_, [](const auto& f) { return f->cancelled(); });
  attached_.push_back(feed);
  if (feed->spec().messages) services_.Add(feed);
}

void Shard::TellAttached(const ConnectionInfo* before,
                         const ConnectionInfoPtr& after, const Ending* ending) {
  if (attached_.empty()) return;
  std::erase_if(attached_, [](const auto& f) { return f->cancelled(); });
  for (const AttachFeedPtr& feed : attached_) feed->Tell(before, after, ending);
}

void Shard::AskServices(Slot slot, HandshakeFacts facts) {
  const auto handshake = std::make_shared<WaitingHandshake>();
  handshake->facts = std::move(facts);
  handshake->endpoint = sessions_[slot]->endpoint;
  handshake->info = registry_.Get(slot);
  auto& waiting = sessions_[slot]->pending->waiting;
  waiting = std::make_unique<Waiting>(shared_.offers, handshake);
  if (waiting->offer) ArmOffer(slot);
}

void Shard::OnOffered(const ConnectionId& id, Offers::OfferId offer) {
  on_shard_.AssertHeld();
  const std::optional<Slot> slot = registry_.Find(id);
  if (!slot || sessions_[*slot]->pending == nullptr) return;
  const auto& waiting = sessions_[*slot]->pending->waiting;
  // One that is newer may have come in between.
  if (waiting == nullptr || waiting->offer > offer) return;
  waiting->offer = offer;
  ArmOffer(*slot);
}

void Shard::ArmOffer(Slot slot) {
  const Session& session = *sessions_[slot];
  transport_.timers().Arm(
      session.pending->waiting->timer,
      shared_.clock.Monotonic() + session.endpoint->offer_timeout,
      [this, slot] {
        on_shard_.AssertHeld();
        Waiting& waiting = *sessions_[slot]->pending->waiting;
        const auto next = shared_.offers.Expire(*waiting.offer);
        if (!next) return;
        waiting.offer = next;
        ArmOffer(slot);
      });
}

void Shard::RefuseHandshake(const ConnectionId& id, const std::string& reason) {
  on_shard_.AssertHeld();
  const auto slot = FindOpen(id);
  if (!slot.ok() || Info(*slot).identity != nullptr) return;
  if (reason.empty()) {
    Close(*slot, CloseCode::kNotAdmitted);
    return;
  }
  BecomeClosing(*slot, static_cast<uint16_t>(CloseCode::kNotAdmitted),
                Ending::ByBroker(CloseCode::kNotAdmitted, reason));
  transport_.CloseWithReason(*slot, CloseCode::kNotAdmitted, reason);
}

}  // namespace broker
