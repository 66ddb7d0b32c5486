#include "broker/hub/attach_feed.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"

namespace broker {
namespace {

Ending::Cause CauseOf(CloseCode code) {
  using Cause = Ending::Cause;
  switch (code) {
    case CloseCode::kRevoked:
      return Cause::kRevoked;
    case CloseCode::kRemoved:
      return Cause::kRemoved;
    case CloseCode::kHeartbeatTimeout:
      return Cause::kHeartbeat;
    case CloseCode::kSlowConsumer:
      return Cause::kSlow;
    case CloseCode::kExpired:
      return Cause::kExpired;
    case CloseCode::kNotAdmitted:
      return Cause::kNotAdmitted;
    case CloseCode::kConnectionLimit:
      return Cause::kLimit;
    case CloseCode::kGoingAway:
    case CloseCode::kTryAgainLater:
      return Cause::kDrain;
    case CloseCode::kInternal:
      return Cause::kInternal;
    case CloseCode::kProtocolError:
    case CloseCode::kUnsupportedData:
    case CloseCode::kBadUtf8:
    case CloseCode::kPolicy:
    case CloseCode::kTooBig:
    case CloseCode::kRateLimited:
      return Cause::kPolicy;
  }
  return Cause::kInternal;
}

}  // namespace

Ending Ending::ByBroker(CloseCode code, absl::string_view reason) {
  return {CauseOf(code), static_cast<uint16_t>(code),
          std::string(reason.empty() ? CloseReason(code) : reason)};
}

namespace {

uint64_t NextNumber() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace

AttachFeed::AttachFeed(AttachSpec spec)
    : spec_(std::move(spec)),
      number_(NextNumber()),
      accepts_messages_(spec_.messages.has_value()) {}

bool AttachFeed::HasNext() const {
  if (!started_) return false;
  return !start_told_ || CanListenAgain() || !notices_.empty() ||
         !offers_.empty() || (!events_.empty() && event_credit_ > 0) ||
         HasMessage();
}

void AttachFeed::Start() {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    started_ = true;
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
}

void AttachFeed::Offer(uint64_t offer_id, WaitingHandshakePtr handshake) {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    if (gate_.closed()) return;
    Item item;
    item.kind = Item::Kind::kOffer;
    item.offer_id = offer_id;
    item.handshake = std::move(handshake);
    offers_.push_back(std::move(item));
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
}

void AttachFeed::Tell(const ConnectionInfo* before,
                      const ConnectionInfoPtr& after, const Ending* ending) {
  const ConnectionInfo& info = after != nullptr ? *after : *before;
  if (spec_.events == nullptr || info.ns != spec_.ns) return;
  Item event;
  if (ending != nullptr) {
    event.kind = Item::Kind::kClosed;
    event.ending = *ending;
  } else if (after == nullptr || after->state != ConnectionState::kAdmitted) {
    return;
  } else if (before == nullptr || before->state != after->state) {
    event.kind = Item::Kind::kAdmitted;
  } else if (before->version != after->version) {
    event.kind = Item::Kind::kUpdated;
  } else {
    return;
  }
  // An update that takes it out of the filter is told, too.
  const bool wanted =
      spec_.events->Matches(info) ||
      (event.kind == Item::Kind::kUpdated && spec_.events->Matches(*before));
  if (!wanted) return;
  // What it has become is not for a service that may not see it.
  const bool shown = after != nullptr &&
                     (spec_.within == nullptr || spec_.within->Matches(*after));
  event.info = shown ? after : std::make_shared<const ConnectionInfo>(*before);
  PushEvent(std::move(event));
}

void AttachFeed::PushEvent(Item event) {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    if (gate_.closed()) return;
    events_.push_back(std::move(event));
    if (events_.size() > kMaxUnread) {
      gate_.End(WithReason(
          absl::AbortedError(absl::StrCat(
              "the service is ", kMaxUnread,
              " events behind: attach again, and start from WatchConnections")),
          "EVENTS_LOST"));
    }
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
}

void AttachFeed::Fail(absl::Status status) {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    if (gate_.closed()) return;
    accepts_messages_ = false;
    gate_.End(std::move(status));
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
}

void AttachFeed::AddEventCredit(uint64_t credit) {
  ReaderGate::Ready ready;
  {
    MutexLock lock(mu_);
    event_credit_ += std::min(credit, kMaxCredit - event_credit_);
    ready = gate_.Wake(HasNext());
  }
  if (ready) ready();
}

void AttachFeed::Cancel() {
  ReaderGate::Ready dropped;
  std::deque<Item> offers, events, notices;
  MutexLock lock(mu_);
  dropped = gate_.Cancel();
  accepts_messages_ = false;
  offers.swap(offers_);
  events.swap(events_);
  notices.swap(notices_);
}

bool AttachFeed::cancelled() const {
  MutexLock lock(mu_);
  return gate_.closed();
}

void AttachFeed::NotifyWhenReady(absl::AnyInvocable<void()> ready) {
  ReaderGate::Ready now;
  {
    MutexLock lock(mu_);
    now = gate_.Wait(ready, HasNext());
  }
  if (now) now();
}

AttachFeed::Next AttachFeed::TakeNext() {
  Next next;
  MutexLock lock(mu_);
  // A service that has drained gets what it was promised, then its end.
  if (gate_.end() && (!gate_.end()->ok() || notices_.empty())) {
    next.end = gate_.end();
    return next;
  }
  if (!started_) return next;
  if (!std::exchange(start_told_, true)) {
    next.item = Item();
  } else if (CanListenAgain()) {
    deaf_ = false;
    next.listen = true;
  } else if (!notices_.empty()) {
    next.item = std::move(notices_.front());
    notices_.pop_front();
  } else if (!TakeOffer(next) && !TakeEvent(next)) {
    // Offers first: so none comes behind the end of its connection.
    TakeMessage(next);
  }
  return next;
}

bool AttachFeed::TakeOffer(Next& next) {
  while (!offers_.empty() && !next.item) {
    if (offers_.front().handshake->answered) {
      ++next.skipped;
    } else {
      next.item = std::move(offers_.front());
    }
    offers_.pop_front();
  }
  return next.item.has_value();
}

bool AttachFeed::TakeEvent(Next& next) {
  if (events_.empty() || event_credit_ == 0) return false;
  --event_credit_;
  ++events_taken_;
  next.item = std::move(events_.front());
  events_.pop_front();
  return true;
}

}  // namespace broker
