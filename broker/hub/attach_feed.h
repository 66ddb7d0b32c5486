// AttachFeed: what an attached service is to be told: the handshakes that it is
// to judge, what happens to connections, and what clients say. Filled by the
// shards and the hub, read by its stream, bounded by credit, by kMaxUnread and
// by the limits for waiting messages.
//
// Thread-safe.

#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "broker/core/identity.h"
#include "broker/core/mutex.h"
#include "broker/filter/predicate.h"
#include "broker/hub/client_message.h"
#include "broker/hub/commands.h"
#include "broker/hub/handshake.h"
#include "broker/hub/reader_gate.h"
#include "broker/session/close_code.h"

namespace broker {

// How a connection ends.
struct Ending {
  enum class Cause {
    kRevoked,
    kRemoved,
    kClient,
    kLost,
    kHeartbeat,
    kSlow,
    kExpired,
    kNotAdmitted,
    kLimit,
    kPolicy,
    kDrain,
    kInternal
  };
  Cause cause = Cause::kLost;
  uint16_t code = kAbnormalClosure;
  std::string reason;  // when the broker closes it

  // The broker closes it; an empty reason: the code's own.
  static Ending ByBroker(CloseCode code, absl::string_view reason = {});
  static Ending ByClient(uint16_t code) { return {Cause::kClient, code, ""}; }
  static Ending Lost() { return {}; }
};

// A handshake of a pending connection, for who judges it. The facts have the
// client's secrets.
struct WaitingHandshake {
  HandshakeFacts facts;
  std::shared_ptr<const EndpointSettings> endpoint;
  ConnectionInfoPtr info;
  std::atomic<bool> answered{false};  // or its client is gone
};
using WaitingHandshakePtr = std::shared_ptr<WaitingHandshake>;

// Which client messages a service takes.
struct MessageSpec {
  enum class Sticky : uint8_t { kNone, kConnection, kAccount };

  std::vector<std::string> methods;  // patterns; of a RAW namespace: `*`
  PredicatePtr from;                 // connections; null: any
  Sticky sticky = Sticky::kNone;
  bool idempotent = false;
};

// What a service wants to be told.
struct AttachSpec {
  std::string ns;
  bool handshakes = false;
  std::optional<MessageSpec> messages;
  PredicatePtr events;  // of the connections that match; null: of none
  // Part of `events`: what the service may not see outside of. May be null.
  PredicatePtr within;
};

// How much may wait for a service without credit.
struct WaitingLimits {
  uint64_t messages = 1'000;
  uint64_t bytes = 16 << 20;
};

// Why a request that a service was given needs no reply.
enum class CancelCause : uint8_t { kClient, kConnectionClosed, kTimeout };

class AttachFeed {
 public:
  // A service that is so many events behind is ended.
  static constexpr size_t kMaxUnread = 10'000;
  // More credit than that is taken as that.
  static constexpr uint64_t kMaxCredit = 100'000;
  // A service of whose replies and sends so many are under way, or have reports
  // that it has not read, is not listened to until it is half of that.
  static constexpr size_t kMaxCommands = 1'000;

  explicit AttachFeed(AttachSpec spec);

  const AttachSpec& spec() const { return spec_; }
  // No other feed of this process has the same.
  uint64_t number() const { return number_; }

  // ---- by the hub and the shards ----

  // Nothing is read before this but an end.
  void Start();
  void Offer(uint64_t offer_id, WaitingHandshakePtr handshake);
  // Null `before`: a new connection; null `after`: it is gone. `ending` when
  // that is what the change is.
  void Tell(const ConnectionInfo* before, const ConnectionInfoPtr& after,
            const Ending* ending);
  // The reader gets the status next; what is unread is dropped.
  void Fail(absl::Status status);

  // Of a service that takes messages. A request that would pass the limits is
  // not taken: false.
  bool Push(const ClientMessagePtr& message, const WaitingLimits& limits);
  // Whether it still takes any.
  bool accepts_messages() const { return accepts_messages_; }
  // Its credit, less what waits: the more, the less it is loaded.
  int64_t room() const { return room_; }
  // A request that it was given is over. With a cause it is told.
  void EndRequest(uint64_t message_id,
                  std::optional<CancelCause> cause = std::nullopt);
  // A reply or send of the service's is under way.
  void BeginCommand();
  // It is done; the service is told when it gave a report.
  void EndCommand(uint64_t report, SendOutcome outcome);
  // Takes no more messages; returns those that it was not given.
  std::vector<ClientMessagePtr> StopMessages();
  // After StopMessages: it ends well when it has replied to everything, and
  // what it sent is done.
  void EndWhenDone();

  // The router's name for the service, 0 when it has none.
  std::atomic<uint64_t> service{0};
  static constexpr uint64_t kDetached = ~uint64_t{0};

  // ---- by the reader ----

  void AddEventCredit(uint64_t credit);
  void AddMessageCredit(uint64_t credit);
  // Whether the service may be listened to. When not, a Next says so.
  bool MayListen();
  // It wants no more.
  void Cancel();
  bool cancelled() const;
  // Calls `ready` once, on any thread, when Next would not be empty-handed; at
  // once when that is so already.
  void NotifyWhenReady(absl::AnyInvocable<void()> ready);

  struct Item {
    enum class Kind {
      kStarted,
      kOffer,
      kAdmitted,
      kUpdated,
      kClosed,
      kMessage,
      kCancelled,
      kReport
    };
    Kind kind = Kind::kStarted;
    uint64_t offer_id = 0;          // kOffer
    WaitingHandshakePtr handshake;  // kOffer
    ConnectionInfoPtr info;         // of an event
    Ending ending;                  // kClosed
    ClientMessagePtr message;       // kMessage
    uint64_t number = 0;            // kCancelled: the message; kReport
    CancelCause cause = CancelCause::kClient;    // kCancelled
    SendOutcome outcome = SendOutcome::kQueued;  // kReport
  };
  // The next item, the status of a feed that has failed, that the service is to
  // be listened to again, or nothing. Offers that are answered meanwhile are
  // left out and counted in `skipped`.
  struct Next {
    std::optional<Item> item;
    std::optional<absl::Status> end;
    bool listen = false;
    uint64_t skipped = 0;
  };
  Next TakeNext();

 private:
  // A message, and how many events were pushed before it: those come first.
  struct Waiting {
    ClientMessagePtr message;
    uint64_t behind = 0;
  };

  bool HasNext() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasMessage() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return !messages_.empty() && message_credit_ > 0 &&
           messages_.front().behind <= events_taken_;
  }
  bool TakeOffer(Next& next) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool TakeEvent(Next& next) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool TakeMessage(Next& next) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Lets go of messages that are over.
  void Sweep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PopMessage() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    room_ = static_cast<int64_t>(message_credit_) -
            static_cast<int64_t>(messages_.size());
  }
  void PushEvent(Item event);
  // A request, or else a command, is over; the notice tells the service.
  void Settle(bool request, std::optional<Item> notice);
  // A drained service with nothing left to do has come to its end.
  void EndIfDone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool CanListenAgain() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return deaf_ && commands_ + notices_.size() <= kMaxCommands / 2;
  }

  const AttachSpec spec_;
  const uint64_t number_;
  std::atomic<int64_t> room_{0};
  std::atomic<bool> accepts_messages_;
  mutable Mutex mu_;
  ReaderGate gate_ ABSL_GUARDED_BY(mu_);
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  bool start_told_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Item> offers_ ABSL_GUARDED_BY(mu_);
  std::deque<Item> events_ ABSL_GUARDED_BY(mu_);
  uint64_t event_credit_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t events_taken_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<Item> notices_ ABSL_GUARDED_BY(mu_);  // kCancelled, kReport
  std::deque<Waiting> messages_ ABSL_GUARDED_BY(mu_);
  uint64_t message_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of those
  uint64_t message_credit_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t open_requests_ ABSL_GUARDED_BY(mu_) = 0;  // given and not over
  size_t commands_ ABSL_GUARDED_BY(mu_) = 0;         // begun and not ended
  bool deaf_ ABSL_GUARDED_BY(mu_) = false;           // nobody listens to it
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
};

using AttachFeedPtr = std::shared_ptr<AttachFeed>;

}  // namespace broker
