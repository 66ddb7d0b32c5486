// What clients say: who may, and what becomes of it.

#include <utility>

#include "broker/hub/shard.h"

namespace broker {
namespace {

// So many broken envelopes are answered; the next ends the connection.
constexpr int kMaxBadEnvelopes = 2;

}  // namespace

void Shard::OnMessage(Slot slot, Opcode opcode, std::string payload) {
  on_shard_.AssertHeld();
  stats_.messages_in.Add();
  if (!WithinRate(slot, payload.size())) {
    stats_.messages_in_dropped.Add();
    Close(slot, CloseCode::kRateLimited);
    return;
  }
  switch (Info(slot).state) {
    case ConnectionState::kClosing:
      stats_.messages_in_dropped.Add();
      return;
    case ConnectionState::kPending:
      if (!sessions_[slot]->pending->inbound.Push(
              {opcode, std::move(payload)})) {
        Close(slot, CloseCode::kPolicy);
      }
      return;
    case ConnectionState::kAdmitted:
      HandleMessage(slot, opcode, payload);
      return;
  }
}

void Shard::HandleMessage(Slot slot, Opcode opcode, absl::string_view payload) {
  if (sessions_[slot]->endpoint->framing == Framing::kRaw) {
    const ClientMessagePtr message = MakeMessage(
        slot, opcode == Opcode::kText ? ClientMessage::Kind::kText
                                      : ClientMessage::Kind::kBinary);
    message->payload = std::string(payload);
    Dispatch(slot, message);
  } else if (opcode != Opcode::kText) {
    stats_.messages_in_dropped.Add();
    Close(slot, CloseCode::kUnsupportedData);
  } else {
    HandleEnvelope(slot, payload);
  }
}

void Shard::HandleEnvelope(Slot slot, absl::string_view text) {
  EnvelopeResult result = ParseEnvelope(text);
  Envelope& envelope = result.envelope;
  if (result.fault != EnvelopeFault::kNone) {
    stats_.messages_in_dropped.Add();
    if (++sessions_[slot]->bad_envelopes > kMaxBadEnvelopes) {
      Close(slot, CloseCode::kPolicy);
    } else {
      SendText(slot,
               MakeErrorReply(envelope.id_json, static_cast<int>(result.fault),
                              result.fault == EnvelopeFault::kParseError
                                  ? "Parse error"
                                  : "Invalid Request"));
    }
    return;
  }
  const bool request = envelope.kind == EnvelopeKind::kRequest;
  if (!request && envelope.kind != EnvelopeKind::kNotification) {
    return OnClientReply(slot, envelope);
  }
  const ClientMessagePtr message =
      MakeMessage(slot, request ? ClientMessage::Kind::kRequest
                                : ClientMessage::Kind::kNotification);
  if (!request && envelope.method == sessions_[slot]->endpoint->cancel_method) {
    return OnClientCancel(slot, envelope.params_json);
  }
  message->method = std::move(envelope.method);
  message->payload = std::string(envelope.params_json);
  message->request_id = std::move(envelope.id_json);
  if (!envelope.traceparent.empty()) {
    message->traceparent = std::move(envelope.traceparent);
  }
  if (request) stats_.client_requests.Add();
  Dispatch(slot, message);
}

SendTally Shard::SendText(Slot slot, absl::string_view text) {
  SendTally tally;
  Deliver({slot}, Frame::Encode(Opcode::kText, text), false, tally);
  return tally;
}

Conversation& Shard::ConversationOf(Slot slot) {
  auto& conversation = sessions_[slot]->conversation;
  if (conversation != nullptr && conversation->inflow != nullptr) {
    return *conversation;
  }
  if (conversation == nullptr) conversation = std::make_unique<Conversation>();
  conversation->inflow = std::make_shared<Inflow>(
      sessions_[slot]->endpoint->max_message_bytes,
      [this, &transport = transport_, id = Info(slot).id] {
        transport.Post([this, id] { ResumeReading(id); });
      });
  return *conversation;
}

ClientMessagePtr Shard::MakeMessage(Slot slot, ClientMessage::Kind kind) {
  Conversation& conversation = ConversationOf(slot);
  auto message = std::make_shared<ClientMessage>();
  message->kind = kind;
  message->from = registry_.Get(slot);
  message->sequence = ++conversation.sequence;
  message->traceparent = conversation.traceparent;
  message->inflow = conversation.inflow;
  return message;
}

void Shard::Dispatch(Slot slot, ClientMessagePtr message) {
  const Session& session = *sessions_[slot];
  Conversation& conversation = *session.conversation;
  if (message->kind == ClientMessage::Kind::kRequest) {
    if (!HasRoomFor(slot, *message))
      return RefuseRequest(slot, *message, -32000);
  } else {
    message->weight = message->inflow->WeightOf(message->size());
    if (message->inflow->Add(message->weight)) {
      transport_.SetReading(slot, false);
    }
  }
  const bool wait = session.endpoint->message_order == MessageOrder::kStrict &&
                    (!conversation.open.empty() || !conversation.held.empty());
  if (wait) {
    conversation.held.push_back(std::move(message));
  } else {
    Route(slot, message);
  }
}

bool Shard::HasRoomFor(Slot slot, const ClientMessage& request) {
  const EndpointSettings& endpoint = *sessions_[slot]->endpoint;
  const Conversation& conversation = *sessions_[slot]->conversation;
  uint64_t requests = conversation.open.size();
  uint64_t bytes = conversation.open_bytes + request.size();
  for (const ClientMessagePtr& held : conversation.held) {
    if (held->kind != ClientMessage::Kind::kRequest) continue;
    ++requests;
    bytes += held->size();
  }
  return requests < endpoint.max_requests_in_flight &&
         bytes <=
             PendingInbound::kMaxMessageSizes * endpoint.max_message_bytes &&
         shared_.open_requests < settings_->limits.max_requests_in_flight;
}

void Shard::Route(Slot slot, const ClientMessagePtr& message, bool again) {
  Conversation& conversation = *sessions_[slot]->conversation;
  const Limits& limits = settings_->limits;
  const bool request = message->kind == ClientMessage::Kind::kRequest;
  message->id = (++last_message_ << 8) | index_;
  AttachFeedPtr service;
  const Services::Routed routed = services_.Route(
      message, {limits.max_waiting_messages, limits.max_waiting_bytes},
      conversation.sticky, service);
  if (routed == Services::Routed::kTaken) {
    if (!request) return;
    OpenRequest& open = requests_[message->id];
    open.slot = slot;
    open.message = message;
    open.service = std::move(service);
    conversation.open.push_back(message->id);
    conversation.open_bytes += message->size();
    shared_.open_requests.fetch_add(1);
    const auto timeout = sessions_[slot]->endpoint->request_timeout;
    transport_.timers().Arm(open.timer, shared_.clock.Monotonic() + timeout,
                            [this, id = message->id] {
                              on_shard_.AssertHeld();
                              CancelRequest(id, CancelCause::kTimeout, -32001);
                            });
  } else if (request) {
    const bool nobody = routed == Services::Routed::kNobody && !again;
    RefuseRequest(slot, *message, nobody ? -32601 : -32000);
  } else {
    message->inflow->Take(message->weight);
    stats_.messages_in_dropped.Add();
    if (message->kind != ClientMessage::Kind::kNotification) {
      Close(slot, CloseCode::kTryAgainLater);
    }
  }
}

void Shard::RefuseRequest(Slot slot, const ClientMessage& request, int code) {
  stats_.client_requests_refused.Add();
  SendText(slot,
           code == -32601
               ? MakeErrorReply(request.request_id, code, "Method not found")
               : MakeErrorReply(request.request_id, code, "Service unavailable",
                                R"({"retry_after":1})"));
}

}  // namespace broker
