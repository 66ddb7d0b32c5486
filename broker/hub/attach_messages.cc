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

void AttachFeed::PushNotice(Item notice) {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    if (gate_.closed()) return;
    notices_.push_back(std::move(notice));
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
}

void AttachFeed::EndRequest(uint64_t message_id,
                            std::optional<CancelCause> cause) {
  if (cause) {
    Item notice;
    notice.kind = Item::Kind::kCancelled;
    notice.number = message_id;
    notice.cause = *cause;
    PushNotice(std::move(notice));
  }
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    --open_requests_;
    if (!draining_ || open_requests_ > 0 || gate_.closed()) return;
    gate_.End(absl::OkStatus());
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
}

void AttachFeed::Report(uint64_t report, SendOutcome outcome) {
  Item notice;
  notice.kind = Item::Kind::kReport;
  notice.number = report;
  notice.outcome = outcome;
  PushNotice(std::move(notice));
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
    if (open_requests_ > 0 || gate_.closed()) return;
    gate_.End(absl::OkStatus());
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
}

}  // namespace broker
