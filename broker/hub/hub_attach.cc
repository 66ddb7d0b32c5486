// Attached services.

#include <utility>

#include "broker/hub/fan_out.h"
#include "broker/hub/hub.h"

namespace broker {

void Hub::Attach(const AttachFeedPtr& feed, uint64_t handshake_credit) {
  if (draining()) return feed->Fail(ShuttingDown());
  OnAll(
      [feed](Shard& s) {
        s.Attach(feed);
        return true;
      },
      [this, feed, handshake_credit](Parts<bool> parts) {
        if (!parts.ok()) return feed->Fail(parts.status());
        shared_.offers.Attach(feed);
        AddHandshakeCredit(feed, handshake_credit);
        feed->Start();
      });
}

void Hub::AddHandshakeCredit(const AttachFeedPtr& feed, uint64_t credit) {
  OnOffered(shared_.offers.AddCredit(feed, credit));
}

void Hub::Detach(const AttachFeedPtr& feed) {
  OnOffered(shared_.offers.Detach(feed));
  StopMessages(feed);
}

void Hub::DrainService(const AttachFeedPtr& feed) {
  EndMessages(feed, /*still_replies=*/true);
  feed->EndWhenDone();
}

void Hub::StopMessages(const AttachFeedPtr& feed) {
  EndMessages(feed, /*still_replies=*/false);
}

void Hub::EndMessages(const AttachFeedPtr& feed, bool still_replies) {
  if (!feed->spec().messages) return;
  std::vector<std::vector<ClientMessagePtr>> waiting(shards_.size());
  for (ClientMessagePtr& message : feed->StopMessages()) {
    waiting[message->from->id.tag() % shards_.size()].push_back(
        std::move(message));
  }
  for (size_t i = 0; i < shards_.size(); ++i) {
    Post(i, [feed, still_replies, own = std::move(waiting[i]),
             shard = shards_[i].get()] {
      shard->OnServiceLeaving(feed, own, still_replies);
    });
  }
}

void Hub::Reply(const AttachFeedPtr& feed, ServiceReply reply) {
  feed->BeginCommand();
  const size_t owner = (reply.message_id & 0xff) % shards_.size();
  Post(owner, [feed, reply = std::move(reply), shard = shards_[owner].get()] {
    shard->Reply(feed, reply);
  });
}

void Hub::OnOffered(const std::vector<Offers::Made>& offers) {
  for (const Offers::Made& made : offers) {
    const size_t owner = made.connection.tag() % shards_.size();
    Post(owner, [made, shard = shards_[owner].get()] {
      shard->OnOffered(made.connection, made.offer);
    });
  }
}

void Hub::RefuseHandshake(const AttachFeedPtr& feed, uint64_t offer_id,
                          std::string reason) {
  const auto connection = shared_.offers.Find(offer_id, feed);
  if (!connection) return;
  const size_t owner = connection->tag() % shards_.size();
  Post(owner,
       [id = *connection, reason = std::move(reason),
        shard = shards_[owner].get()] { shard->RefuseHandshake(id, reason); });
}

}  // namespace broker
