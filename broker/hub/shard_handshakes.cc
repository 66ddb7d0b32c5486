// The transport's side of a shard: from a handshake to an open connection.

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "broker/hub/origin.h"
#include "broker/hub/shard.h"

namespace broker {
namespace {

HandshakeAnswer Refuse(int status, absl::string_view body,
                       int retry_after_seconds = 0) {
  HandshakeAnswer answer;
  answer.http_status = status;
  answer.body = std::string(body);
  answer.retry_after_seconds = retry_after_seconds;
  return answer;
}

// So much of a query is kept.
constexpr size_t kMaxQuery = 1024;

// What the API shows must be UTF-8, and a header need not be.
std::string Printable(std::string text) {
  for (char& c : text) {
    if (!absl::ascii_isprint(static_cast<unsigned char>(c))) c = '?';
  }
  return text;
}

// One answer for every reason, so that nobody learns which tickets exist.
HandshakeAnswer Unauthorized() {
  return Refuse(401, "a valid credential is required");
}

}  // namespace

HandshakeAnswer Shard::CheckHandshake(HandshakeFacts facts,
                                      HandshakeReply reply) {
  on_shard_.AssertHeld();
  const EndpointSettings* endpoint = settings_->FindEndpoint(facts.path);
  if (endpoint == nullptr) return Refuse(404, "no endpoint at this path");
  if (!OriginAllowed(facts.origin, *endpoint, settings_->loopback_listener)) {
    return Refuse(403, "this origin is not allowed");
  }
  if (shared_.draining.load(std::memory_order_relaxed)) {
    return Refuse(503, "the broker is shutting down", 1);
  }
  if (shared_.memory_level.load(std::memory_order_relaxed) !=
      MemoryLevel::kNormal) {
    return Refuse(503, "the broker is short of memory", 5);
  }
  if (facts.overload == SocketOverload::kTotal) {
    return Refuse(503, "too many connections", 5);
  }
  if (facts.overload == SocketOverload::kAddress) {
    return Refuse(429, "too many connections from this address", 5);
  }
  // A ticket that is no good never falls back to another way in.
  if (facts.ticket) return CheckTicket(std::move(facts), *endpoint);
  if (endpoint->allow_callout && shared_.callout != nullptr) {
    return AskCallout(std::move(facts), *endpoint, std::move(reply));
  }
  if (!endpoint->allow_pending) {
    if (!endpoint->allow_attach) return Unauthorized();
    if (!shared_.offers.HasServices(endpoint->ns)) {
      return Refuse(503, "nobody is there to judge this client", 1);
    }
  }
  HandshakeAnswer answer = Accept(std::move(facts), *endpoint);
  if (answer.handshake == nullptr) return answer;
  answer.handshake->pending = shared_.caps.JoinPending();
  if (!answer.handshake->pending) {
    return Refuse(503, "too many pending connections", 5);
  }
  return answer;
}

HandshakeAnswer Shard::Accept(HandshakeFacts facts,
                              const EndpointSettings& endpoint) {
  NamespaceLease place = shared_.caps.JoinNamespace(endpoint.ns);
  if (!place) return Refuse(503, "too many connections of this namespace", 5);
  HandshakeAnswer answer;
  answer.handshake = std::make_unique<Handshake>();
  answer.handshake->ns = std::move(place);
  answer.handshake->settings = settings_;
  answer.handshake->endpoint = &endpoint;
  answer.handshake->facts = std::move(facts);
  answer.handshake->arrival_epoch = shared_.revocations.epoch();
  answer.handshake->verified_at_epoch = answer.handshake->arrival_epoch;
  return answer;
}

HandshakeAnswer Shard::CheckTicket(HandshakeFacts facts,
                                   const EndpointSettings& endpoint) {
  if (!endpoint.allow_ticket) return Unauthorized();
  const MonotonicTime now = shared_.clock.Monotonic();
  const std::string address = facts.remote_address;
  const int wait = shared_.ticket_misses.RetryAfter(address, now);
  if (wait > 0) {
    return Refuse(429, "too many bad tickets from this address", wait);
  }
  HandshakeAnswer answer = Accept(std::move(facts), endpoint);
  if (answer.handshake == nullptr) return answer;
  HandshakeFacts& asked = answer.handshake->facts;
  std::optional<Ticket> ticket =
      shared_.tickets.Take(*asked.ticket, endpoint.ns, asked.origin, now);
  if (ticket) {
    asked.ticket.reset();
    answer.handshake->identity = std::move(ticket->identity);
    answer.handshake->verified_at_epoch = ticket->verified_at_epoch;
    answer = BindHandshake(std::move(answer.handshake));
  } else {
    answer = Unauthorized();
  }
  if (answer.http_status == 401) shared_.ticket_misses.Add(address, now);
  return answer;
}

HandshakeAnswer Shard::AskCallout(HandshakeFacts facts,
                                  const EndpointSettings& endpoint,
                                  HandshakeReply reply) {
  HandshakeAnswer answer = Accept(std::move(facts), endpoint);
  if (answer.handshake == nullptr) return answer;
  const Handshake& asked = *answer.handshake;
  shared_.callout->Authenticate(
      asked.facts, endpoint, asked.arrival_epoch,
      [this, handshake = std::move(answer.handshake),
       reply = std::move(reply)](CalloutAnswer decision) mutable {
        transport_.Post([this, handshake = std::move(handshake),
                         reply = std::move(reply),
                         decision = std::move(decision)]() mutable {
          on_shard_.AssertHeld();
          reply(OnCalloutAnswer(std::move(handshake), std::move(decision)));
        });
      });
  answer.later = true;
  return answer;
}

HandshakeAnswer Shard::OnCalloutAnswer(std::unique_ptr<Handshake> handshake,
                                       CalloutAnswer answer) {
  if (answer.http_status != 101) {
    return Refuse(answer.http_status, answer.body,
                  answer.http_status == 503 ? 1 : 0);
  }
  if (shared_.draining.load(std::memory_order_relaxed)) {
    return Refuse(503, "the broker is shutting down", 1);
  }
  handshake->identity = std::move(answer.identity);
  return BindHandshake(std::move(handshake));
}

HandshakeAnswer Shard::BindHandshake(std::unique_ptr<Handshake> handshake) {
  const Identity& identity = *handshake->identity;
  const auto expires = identity.expires_at();
  if (expires && *expires <= shared_.clock.Now()) {
    return Unauthorized();
  }
  const EndpointSettings& endpoint = *handshake->endpoint;
  ConnectionInfo as_bound;
  as_bound.ns = endpoint.ns;
  as_bound.endpoint = endpoint.path;
  as_bound.remote_address = handshake->facts.remote_address;
  as_bound.identity = handshake->identity;
  // Not CheckBinding, which says why: nobody is told.
  const uint64_t verified = handshake->verified_at_epoch;
  if (!shared_.revocations.CheckEpoch(verified).ok() ||
      fences_.FindRefusing(as_bound, verified, shared_.clock.Monotonic())) {
    return Unauthorized();
  }
  handshake->account = JoinAccount(endpoint.ns, identity.account_id());
  if (!handshake->account) {
    return Refuse(429, "too many connections of this account", 5);
  }
  HandshakeAnswer answer;
  answer.handshake = std::move(handshake);
  return answer;
}

ConnectionId Shard::OnOpen(Slot slot, std::unique_ptr<Handshake> handshake) {
  on_shard_.AssertHeld();
  if (slot >= sessions_.size()) sessions_.resize(slot + 1);
  auto session = std::make_unique<Session>();
  session->endpoint = {std::move(handshake->settings), handshake->endpoint};
  session->ns = std::move(handshake->ns);
  session->account = std::move(handshake->account);
  session->rate =
      MessageRate::Make(*session->endpoint, shared_.clock.Monotonic());

  auto info = std::make_shared<ConnectionInfo>();
  info->connect_time = shared_.clock.Now();
  info->id = Uuid::Make(info->connect_time, index_);
  info->ns = handshake->endpoint->ns;
  info->endpoint = handshake->endpoint->path;
  info->remote_address = handshake->facts.remote_address;
  info->remote_port = handshake->facts.remote_port;
  info->origin = Printable(handshake->facts.origin.value_or(""));
  info->query = Printable(handshake->facts.query.substr(0, kMaxQuery));
  info->epoch = handshake->arrival_epoch;
  if (handshake->identity != nullptr) {
    session->verified_at_epoch = handshake->verified_at_epoch;
    info->state = ConnectionState::kAdmitted;
    info->identity = std::move(handshake->identity);
    info->admit_time = info->connect_time;
    info->version = 1;
  } else {
    session->pending = std::make_unique<Session::Pending>(Session::Pending{
        std::move(handshake->pending),
        PendingInbound(session->endpoint->max_message_bytes), nullptr});
  }
  for (const auto& [name, value] : handshake->facts.headers) {
    if (!absl::EqualsIgnoreCase(name, "traceparent") || !IsTraceparent(value)) {
      continue;
    }
    session->conversation = std::make_unique<Conversation>();
    session->conversation->traceparent = value;
  }
  sessions_[slot] = std::move(session);
  const ConnectionInfoPtr shared = info;
  registry_.Insert(slot, shared);
  watches_.Record(nullptr, shared);
  TellAttached(nullptr, shared, nullptr);

  if (shared_.draining.load(std::memory_order_relaxed)) {
    Close(slot, CloseCode::kGoingAway);
    return shared->id;
  }
  if (shared->identity == nullptr) {
    ArmTimer(slot,
             shared_.clock.Monotonic() + handshake->endpoint->pending_timeout,
             [this, slot] {
               on_shard_.AssertHeld();
               Close(slot, CloseCode::kNotAdmitted);
             });
    if (handshake->endpoint->allow_attach) {
      AskServices(slot, std::move(handshake->facts));
    }
    return shared->id;
  }
  // Asked in CheckHandshake already. Asked again in the task that registers
  // the connection, so that a revocation's scan finds it, or this its fence.
  if (!CheckBinding(*shared, handshake->verified_at_epoch).ok()) {
    Close(slot, CloseCode::kRevoked);
  } else if (sessions_[slot]->account.evicted()) {
    Close(slot, CloseCode::kConnectionLimit);
  } else {
    ArmExpiry(slot);
  }
  return shared->id;
}

}  // namespace broker
