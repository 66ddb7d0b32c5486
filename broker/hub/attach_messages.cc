// What an attached service is told of client messages.

#include <algorithm>
#include <utility>

#include "broker/hub/attach_feed.h"

namespace broker {

void AttachFeed::AddMessageCredit(uint64_t credit) {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    message_credit_ += std::min(credit, kMaxCredit - message_credit_);
    SetRoom();
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
}

bool AttachFeed::Push(const ClientMessagePtr& message,
                      const WaitingLimits& limits) {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    if (gate_.closed() || !accepts_messages_) return false;
    const auto full = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return messages_.size() >= limits.messages ||
             message_bytes_ + message->size() > limits.bytes;
    };
    // One alone may be as long as messages are.
    if (message->kind == ClientMessage::Kind::kRequest && full()) {
      Sweep();
      if (full() && !messages_.empty()) return false;
    }
    message_bytes_ += message->size();
    messages_.push_back({message, events_taken_ + events_.size()});
    SetRoom();
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
  return true;
}

bool AttachFeed::TakeMessage(Next& next) {
  while (HasMessage()) {
    const ClientMessagePtr message = messages_.front().message;
    PopMessage();
    if (!message->Give()) continue;
    --message_credit_;
    SetRoom();
    if (message->kind == ClientMessage::Kind::kRequest) ++open_requests_;
    next.item = Item();
    next.item->kind = Item::Kind::kMessage;
    next.item->message = message;
    return true;
  }
  return false;
}

void AttachFeed::PopMessage() {
  message_bytes_ -= messages_.front().message->size();
  messages_.pop_front();
  SetRoom();
}

void AttachFeed::Sweep() {
  const auto over = [&](const Waiting& waiting)
                        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
                          if (!waiting.message->over()) return false;
                          message_bytes_ -= waiting.message->size();
                          return true;
                        };
  messages_.erase(std::remove_if(messages_.begin(), messages_.end(), over),
                  messages_.end());
  SetRoom();
}

void AttachFeed::EndRequest(uint64_t message_id,
                            std::optional<CancelCause> cause) {
  std::optional<Item> notice;
  if (cause) {
    notice = Item();
    notice->kind = Item::Kind::kCancelled;
    notice->number = message_id;
    notice->cause = *cause;
  }
  Settle(/*request=*/true, std::move(notice));
}

void AttachFeed::BeginCommand() {
  MutexLock lock(mu_);
  ++commands_;
}

void AttachFeed::EndCommand(uint64_t report, SendOutcome outcome) {
  std::optional<Item> notice;
  if (report != 0) {
    notice = Item();
    notice->kind = Item::Kind::kReport;
    notice->number = report;
    notice->outcome = outcome;
  }
  Settle(/*request=*/false, std::move(notice));
}

void AttachFeed::Settle(bool request, std::optional<Item> notice) {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    if (notice && !gate_.closed()) notices_.push_back(*std::move(notice));
    if (request) {
      --open_requests_;
    } else {
      --commands_;
    }
    EndIfDone();
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
}

bool AttachFeed::MayListen() {
  MutexLock lock(mu_);
  deaf_ = commands_ + notices_.size() >= kMaxCommands;
  return !deaf_;
}

void AttachFeed::EndIfDone() {
  const bool done = draining_ && open_requests_ == 0 && commands_ == 0;
  if (done && !gate_.closed()) gate_.End(absl::OkStatus());
}

std::vector<ClientMessagePtr> AttachFeed::StopMessages() {
  std::vector<ClientMessagePtr> waiting;
  MutexLock lock(mu_);
  accepts_messages_ = false;
  for (Waiting& w : messages_) waiting.push_back(std::move(w.message));
  messages_.clear();
  message_bytes_ = 0;
  SetRoom();
  return waiting;
}

void AttachFeed::EndWhenDone() {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    draining_ = true;
    EndIfDone();
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
}

}  // namespace broker
