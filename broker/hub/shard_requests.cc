// The requests of clients that services have: their replies and their ends.

#include <algorithm>
#include <utility>

#include "broker/hub/shard.h"

namespace broker {
namespace {

constexpr char kNoReply[] = "No reply from the service";

const char* MessageOf(int code) {
  return code == -32800 ? "Request cancelled" : kNoReply;
}

}  // namespace

// ---- by services ------------------------------------------------------------

void Shard::Reply(const AttachFeedPtr& from, const ServiceReply& reply) {
  on_shard_.AssertHeld();
  const auto it = requests_.find(reply.message_id);
  // One that it has not been given is not its own yet, whatever it guesses.
  if (it == requests_.end() || it->second.service != from ||
      !it->second.message->given()) {
    return from->EndCommand(reply.report, SendOutcome::kGone);
  }
  const Slot slot = it->second.slot;
  const std::string& request_id = it->second.message->request_id;
  std::string text =
      reply.unfit ? MakeErrorReply(request_id, -32603, "The reply is malformed")
                  : MakeReply(request_id, reply.is_error ? "error" : "result",
                              reply.json);
  const bool too_long =
      text.size() > sessions_[slot]->endpoint->max_message_bytes;
  if (too_long) {
    text = MakeErrorReply(request_id, -32603, "The reply is too long");
  }
  it->second.message->End();
  ForgetRequest(reply.message_id);
  const SendTally tally = SendText(slot, text);
  from->EndRequest(reply.message_id);
  from->EndCommand(reply.report,
                   tally.dropped_slow == 1     ? SendOutcome::kDroppedSlow
                   : tally.queued == 0         ? SendOutcome::kGone
                   : (reply.unfit || too_long) ? SendOutcome::kUnfit
                                               : SendOutcome::kQueued);
  ReleaseHeld(slot);
}

void Shard::OnServiceLeaving(const AttachFeedPtr& feed,
                             const std::vector<ClientMessagePtr>& waiting,
                             bool still_replies) {
  on_shard_.AssertHeld();
  services_.Remove(*feed);
  for (const ClientMessagePtr& message : waiting) {
    if (message->over()) continue;
    const std::optional<Slot> slot = registry_.Find(message->from->id);
    if (!slot) continue;
    if (sessions_[*slot]->endpoint->framing == Framing::kRaw) continue;
    ForgetRequest(message->id);
    Route(*slot, message, /*again=*/true);
    ReleaseHeld(*slot);
  }
  CloseStuckTo(feed);
  if (!still_replies) RerouteRequests(feed);
}

void Shard::RerouteRequests(const AttachFeedPtr& feed) {
  std::vector<uint64_t> left;
  for (const auto& [id, open] : requests_) {
    if (open.service == feed) left.push_back(id);
  }
  std::sort(left.begin(), left.end());  // in their order
  for (const uint64_t id : left) {
    const auto open = requests_.find(id);
    if (open == requests_.end()) continue;  // as in CancelRequest
    const Slot slot = open->second.slot;
    const ClientMessagePtr old = open->second.message;
    if (old->End()) feed->EndRequest(id);
    ForgetRequest(id);
    if (feed->spec().messages->idempotent) {
      auto message = std::make_shared<ClientMessage>();
      message->kind = ClientMessage::Kind::kRequest;
      message->from = registry_.Get(slot);
      message->inflow = old->inflow;
      message->sequence = old->sequence;
      message->method = old->method;
      message->payload = old->payload;
      message->request_id = old->request_id;
      message->traceparent = old->traceparent;
      Route(slot, message, /*again=*/true);
    } else {
      stats_.client_requests_lost.Add();
      SendText(slot, MakeErrorReply(old->request_id, -32001, kNoReply));
    }
    ReleaseHeld(slot);
  }
}

// Of a RAW namespace: what client and service had agreed upon is lost.
void Shard::CloseStuckTo(const AttachFeedPtr& feed) {
  using Sticky = MessageSpec::Sticky;
  if (feed->spec().messages->sticky != Sticky::kConnection) return;
  std::vector<Slot> stuck;
  for (Slot slot = 0; slot < sessions_.size(); ++slot) {
    if (sessions_[slot] == nullptr ||
        sessions_[slot]->conversation == nullptr ||
        sessions_[slot]->endpoint->framing != Framing::kRaw) {
      continue;
    }
    for (const auto& [pattern, with] : sessions_[slot]->conversation->sticky) {
      if (with.lock() == feed) stuck.push_back(slot);
    }
  }
  for (const Slot slot : stuck) Close(slot, CloseCode::kTryAgainLater);
}

// ---- ends -------------------------------------------------------------------

void Shard::ForgetRequest(uint64_t id) {
  const auto it = requests_.find(id);
  if (it == requests_.end()) return;
  Conversation& conversation = *sessions_[it->second.slot]->conversation;
  std::erase(conversation.open, id);
  conversation.open_bytes -= it->second.message->size();
  requests_.erase(it);
  shared_.open_requests.fetch_sub(1);
}

void Shard::CancelRequest(uint64_t id, CancelCause cause, int code) {
  const auto open = requests_.find(id);
  // Telling a slow client of one before may have closed its connection.
  if (open == requests_.end()) return;
  const Slot slot = open->second.slot;
  const ClientMessagePtr message = open->second.message;
  if (message->End()) open->second.service->EndRequest(id, cause);
  if (cause == CancelCause::kTimeout) stats_.client_requests_lost.Add();
  ForgetRequest(id);
  SendText(slot, MakeErrorReply(message->request_id, code, MessageOf(code)));
  ReleaseHeld(slot);
}

void Shard::OnClientCancel(Slot slot, absl::string_view params_json) {
  const absl::string_view cancelled = FindCancelledId(params_json);
  // Unknown, or over by now: nothing happens.
  if (cancelled.empty()) return;
  Conversation& conversation = *sessions_[slot]->conversation;
  const auto named = [&](const ClientMessagePtr& message) {
    return message->kind == ClientMessage::Kind::kRequest &&
           message->request_id == cancelled;
  };
  const size_t held = std::erase_if(conversation.held, named);
  for (size_t i = 0; i < held; ++i) {
    SendText(slot, MakeErrorReply(cancelled, -32800, MessageOf(-32800)));
  }
  std::vector<uint64_t> open;
  for (const uint64_t id : conversation.open) {
    if (named(requests_.at(id).message)) open.push_back(id);
  }
  for (const uint64_t id : open) {
    CancelRequest(id, CancelCause::kClient, -32800);
  }
}

void Shard::ReleaseHeld(Slot slot) {
  Conversation& conversation = *sessions_[slot]->conversation;
  while (conversation.open.empty() && !conversation.held.empty()) {
    const ClientMessagePtr message = std::move(conversation.held.front());
    conversation.held.pop_front();
    Route(slot, message);
  }
}

void Shard::EndConversation(Slot slot) {
  const auto& conversation = sessions_[slot]->conversation;
  if (conversation == nullptr) return;
  if (conversation->inflow != nullptr) conversation->inflow->Close();
  conversation->held.clear();
  const std::vector<uint64_t> open = conversation->open;
  for (const uint64_t id : open) {
    const OpenRequest& request = requests_.at(id);
    if (request.message->End()) {
      request.service->EndRequest(id, CancelCause::kConnectionClosed);
    }
    ForgetRequest(id);
  }
  while (!conversation->questions.empty()) {
    Settle(slot, conversation->questions.begin()->first,
           {AskOutcome::Kind::kGone, ""});
  }
}

void Shard::ResumeReading(const ConnectionId& id) {
  on_shard_.AssertHeld();
  const std::optional<Slot> slot = registry_.Find(id);
  if (slot) transport_.SetReading(*slot, true);
}

}  // namespace broker
