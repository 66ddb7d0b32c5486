// AttachFeed: what an attached service is to be told: the handshakes that it is
// to judge, and what happens to connections. Filled by the shards and the hub,
// read by its stream, bounded by credit and by kMaxUnread.
//
// Thread-safe.

#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "broker/core/identity.h"
#include "broker/core/mutex.h"
#include "broker/filter/predicate.h"
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

// What a service wants to be told.
struct AttachSpec {
  std::string ns;
  bool handshakes = false;
  PredicatePtr events;  // of the connections that match; null: of none
  // Part of `events`: what the service may not see outside of. May be null.
  PredicatePtr within;
};

class AttachFeed {
 public:
  // A service that is so many events behind is ended.
  static constexpr size_t kMaxUnread = 10'000;
  // More credit than that is taken as that.
  static constexpr uint64_t kMaxCredit = 100'000;

  explicit AttachFeed(AttachSpec spec) : spec_(std::move(spec)) {}

  const AttachSpec& spec() const { return spec_; }

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

  // The router's name for the service, 0 when it has none.
  std::atomic<uint64_t> service{0};
  static constexpr uint64_t kDetached = ~uint64_t{0};

  // ---- by the reader ----

  void AddEventCredit(uint64_t credit);
  // It wants no more.
  void Cancel();
  bool cancelled() const;
  // Calls `ready` once, on any thread, when Next would not be empty-handed; at
  // once when that is so already.
  void NotifyWhenReady(absl::AnyInvocable<void()> ready);

  struct Item {
    enum class Kind { kStarted, kOffer, kAdmitted, kUpdated, kClosed };
    Kind kind = Kind::kStarted;
    uint64_t offer_id = 0;          // kOffer
    WaitingHandshakePtr handshake;  // kOffer
    ConnectionInfoPtr info;         // of an event
    Ending ending;                  // kClosed
  };
  // The next item, the status of a feed that has failed, or neither. Offers
  // that are answered meanwhile are left out and counted in `skipped`.
  struct Next {
    std::optional<Item> item;
    std::optional<absl::Status> end;
    uint64_t skipped = 0;
  };
  Next TakeNext();

 private:
  bool HasNext() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Push(Item event);

  const AttachSpec spec_;
  mutable Mutex mu_;
  ReaderGate gate_ ABSL_GUARDED_BY(mu_);
  bool started_ ABSL_GUARDED_BY(mu_) = false;
  bool start_told_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Item> offers_ ABSL_GUARDED_BY(mu_);
  std::deque<Item> events_ ABSL_GUARDED_BY(mu_);
  uint64_t event_credit_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace broker
