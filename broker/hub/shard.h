// Shard: the connections that one thread owns, for life.
//
// Confined to that thread, but for index(), stats() and caps(). The transport
// tells it what happens on the wire (On...), the hub posts what callers want.
// Nothing here blocks and nothing is locked.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/node_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "broker/core/thread_role.h"
#include "broker/core/timer_wheel.h"
#include "broker/hub/ask_feed.h"
#include "broker/hub/commands.h"
#include "broker/hub/conversation.h"
#include "broker/hub/handshake.h"
#include "broker/hub/message_rate.h"
#include "broker/hub/outgoing.h"
#include "broker/hub/services.h"
#include "broker/hub/shared_state.h"
#include "broker/hub/stats.h"
#include "broker/hub/transport.h"
#include "broker/hub/watch.h"
#include "broker/registry/fence.h"
#include "broker/registry/registry.h"
#include "broker/session/envelope.h"
#include "broker/session/pending_inbound.h"

namespace broker {

class Shard {
 public:
  Shard(uint8_t index, SharedState& shared, Transport& transport,
        SettingsPtr settings);
  ~Shard();

  // ---- by the transport ----

  // First of all, on the thread.
  void BindToThisThread() { on_shard_.BindToThisThread(); }

  // Decides about a proper upgrade request, or says that `reply` will get the
  // decision. With status 101 it carries the handshake, for OnOpen.
  HandshakeAnswer CheckHandshake(HandshakeFacts facts,
                                 HandshakeReply reply = nullptr);

  // The connection is open, and has this id now. May call Transport::Close for
  // it.
  ConnectionId OnOpen(Slot slot, std::unique_ptr<Handshake> handshake);
  // The id, until OnGone.
  const ConnectionId& connection_id(Slot slot) const;

  // One whole message of the client; text has been found to be UTF-8.
  void OnMessage(Slot slot, Opcode opcode, std::string payload);

  // The client, or the protocol engine, began to close with this code. Not
  // called for Transport::Close.
  void OnClosing(Slot slot, uint16_t code);

  // The socket is gone; the code is what was on the wire first, or 1006.
  // Exactly once for every OnOpen.
  void OnGone(Slot slot, uint16_t code);

  void OnHeartbeatTimeout(Slot slot);
  void OnPingFlood(Slot slot);
  // Its outbox has been over the soft limit for too long.
  void OnSlowConsumer(Slot slot);
  // A message that it began has not ended in time.
  void OnMessageTimeout(Slot slot);

  size_t index() const { return index_; }
  ShardStats& stats() { return stats_; }
  Caps& caps() { return shared_.caps; }
  const Settings& settings() const;

  // ---- by the hub ----

  absl::StatusOr<ConnectionInfoPtr> Bind(const BindCommand& command);
  // For a caller whose reach is given, a connection outside is none.
  absl::StatusOr<ConnectionInfoPtr> Admit(const ConnectionId& id,
                                          const Reach* within = nullptr);
  absl::StatusOr<ConnectionInfoPtr> Update(const UpdateCommand& command);
  BulkUpdateResult UpdateFiltered(const BulkUpdateCommand& command);
  bool Remove(const ConnectionId& id, const Reach* within = nullptr);
  // Tells the feed of every change from now on.
  void Attach(const AttachFeedPtr& feed);
  // A pending connection has been offered: the time of the offer begins.
  void OnOffered(const ConnectionId& id, Offers::OfferId offer);
  // Closes a connection that is not bound with 4006. An empty reason: the
  // code's own.
  void RefuseHandshake(const ConnectionId& id, const std::string& reason);
  // The reply of a service to a request that it was given; for the feed to
  // report what became of it.
  void Reply(const AttachFeedPtr& from, const ServiceReply& reply);
  // The service takes no more messages: these were not given to it, and go to
  // others. Unless it still replies, so do those that it was given, when it is
  // idempotent.
  void OnServiceLeaving(const AttachFeedPtr& feed,
                        const std::vector<ClientMessagePtr>& waiting,
                        bool still_replies);
  // The messages of the connection that waited have been given.
  void ResumeReading(const ConnectionId& id);
  // Puts a request to the client. `settle` is called once, perhaps at once; the
  // number is for Unask, 0 when it was at once.
  absl::StatusOr<uint64_t> Ask(const ConnectionId& id,
                               const AskCommand& command,
                               std::function<void(AskOutcome)> settle,
                               const Reach* within = nullptr);
  // Nobody waits for the reply any more.
  void Unask(const ConnectionId& id, uint64_t number);
  // Asks those that match, and tells the feed; returns how many.
  uint64_t AskFiltered(const AskFilteredCommand& command,
                       const AskFeedPtr& feed);
  void UnaskAll(AskFeed& feed);
  // Whether a binding, made already, would still be allowed.
  absl::Status CheckFences(const ConnectionInfo& as_bound,
                           uint64_t verified_at_epoch);

  // How many connections a close would close.
  uint64_t CountCovered(const RevocationTarget& target,
                        const ConnectionIdSet& exclude);
  // Records the fence, when there is one, then closes what the target covers,
  // but for what was verified since and the fence does not refuse; returns how
  // many that were. `forgotten` are dropped.
  uint64_t Revoke(const RevocationTarget& target, const FencePtr& fence,
                  const std::vector<FencePtr>& forgotten,
                  absl::Duration drain_for, const ConnectionIdSet& exclude);
  void LiftFence(const Fence& fence);

  uint64_t CountRecipients(const SendCommand& command);
  SendTally Send(const SendCommand& command);
  absl::StatusOr<SendOutcome> SendTo(const ConnectionId& id,
                                     const Outgoing& message,
                                     const Reach* within = nullptr);

  absl::StatusOr<ConnectionDetails> Get(const ConnectionId& id,
                                        const Reach* within = nullptr);
  std::vector<ConnectionInfoPtr> List(const ListCommand& command);
  uint64_t Count(const std::string& ns, const Predicate& predicate);
  std::map<std::string, Registry::Counts> CountByNamespace(
      const Reach* within = nullptr);

  // Puts the matching connections into the feed, then every change.
  void Watch(const std::shared_ptr<WatchFeed>& feed);
  absl::Status WatchFrom(const std::shared_ptr<WatchFeed>& feed,
                         uint64_t position);
  uint64_t watch_position();

  // Closes those of the account whose places others have.
  void CloseEvicted(const std::string& ns, const std::string& account_id);
  // The connections with the most in their outboxes, at most kMaxShed.
  static constexpr size_t kMaxShed = 1'000;
  std::vector<OutboxSize> LargestOutboxes();
  // Closes those that are still there, for want of memory; returns how many.
  uint64_t Shed(const std::vector<ConnectionId>& ids);

  void Reload(SettingsPtr settings);
  // Closes all connections with 1001, spread over the time given, ends the
  // watches, and calls `done` when the last socket is gone.
  void Drain(absl::Duration spread, absl::AnyInvocable<void()> done);

 private:
  // A pending connection's place among the handshakes that wait for services.
  struct Waiting {
    Waiting(Offers& the_offers, WaitingHandshakePtr the_handshake);
    ~Waiting();
    Offers& offers;
    const WaitingHandshakePtr handshake;
    Offers::HandshakeId id = 0;
    std::optional<Offers::OfferId> offer;  // the newest
    Timer timer;                           // its end
  };
  // What the shard keeps of a connection beside its ConnectionInfo.
  struct Session {
    struct Pending {
      PendingLease lease;
      PendingInbound inbound;
      std::unique_ptr<Waiting> waiting;  // for a service, until it is bound
    };
    std::shared_ptr<const EndpointSettings> endpoint;  // keeps its Settings
    NamespaceLease ns;
    AccountLease account;
    uint64_t verified_at_epoch = 0;    // its newest binding's
    std::unique_ptr<Pending> pending;  // while it is
    // For the pending deadline, then for the expiry of the identity. Most idle
    // connections wait for neither.
    std::unique_ptr<Timer> timer;
    std::unique_ptr<MessageRate> rate;           // when the endpoint has one
    std::unique_ptr<Conversation> conversation;  // once there is one
    int bad_envelopes = 0;
  };

  const ConnectionInfo& Info(Slot slot) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_) {
    return *registry_.Get(slot);
  }
  // The slot of a connection that is not closing and within reach; else
  // NOT_FOUND.
  absl::StatusOr<Slot> FindOpen(const ConnectionId& id,
                                const Reach* within = nullptr) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // Replaces the info and tells those who watch and those who are attached.
  void Change(Slot slot, ConnectionInfo info, const Ending* ending = nullptr)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  void TellAttached(const ConnectionInfo* before,
                    const ConnectionInfoPtr& after, const Ending* ending)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // Has the pending connection judged by a service.
  void AskServices(Slot slot, HandshakeFacts facts)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  void ArmOffer(Slot slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  HandshakeAnswer CheckTicket(HandshakeFacts facts,
                              const EndpointSettings& endpoint)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  HandshakeAnswer AskCallout(HandshakeFacts facts,
                             const EndpointSettings& endpoint,
                             HandshakeReply reply)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  HandshakeAnswer OnCalloutAnswer(std::unique_ptr<Handshake> handshake,
                                  CalloutAnswer answer)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  HandshakeAnswer Accept(HandshakeFacts facts, const EndpointSettings& endpoint)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // Whether the handshake's identity may have a connection now; if so takes its
  // place among the account's.
  HandshakeAnswer BindHandshake(std::unique_ptr<Handshake> handshake)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // Whether the connection, and the one that it would become, are within reach
  // of who binds.
  static absl::Status CheckReach(const ConnectionInfo& now,
                                 const BindCommand& command);
  absl::Status CheckBinding(const ConnectionInfo& info,
                            uint64_t verified_at_epoch) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // A place for a connection of the account; another may have to go for it.
  // Empty: the account is full.
  AccountLease JoinAccount(const std::string& ns, absl::string_view account_id)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // Whether the client may send this message now.
  bool WithinRate(Slot slot, size_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // Bound becomes admitted: takes a place of the account, hands over what the
  // client sent meanwhile. Over the account's limit it closes with 4004.
  absl::Status AdmitBound(Slot slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  void ArmTimer(Slot slot, MonotonicTime at, std::function<void()> fire)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  void ArmExpiry(Slot slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  void HandleMessage(Slot slot, Opcode opcode, absl::string_view payload)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  void HandleEnvelope(Slot slot, absl::string_view text)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  Conversation& ConversationOf(Slot slot)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  ClientMessagePtr MakeMessage(Slot slot, ClientMessage::Kind kind)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // Gives the message to a service, or holds it until its turn.
  void Dispatch(Slot slot, ClientMessagePtr message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // Whether the client may have this request open, too.
  bool HasRoomFor(Slot slot, const ClientMessage& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // `again`: another service had it.
  void Route(Slot slot, const ClientMessagePtr& message, bool again = false)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  void RefuseRequest(Slot slot, const ClientMessage& request, int code)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // Takes it out of what is open, without a reply.
  void ForgetRequest(uint64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // The same; the service is told, and the client gets the error.
  void CancelRequest(uint64_t id, CancelCause cause, int code)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  void OnClientCancel(Slot slot, absl::string_view params_json)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  void OnClientReply(Slot slot, const Envelope& reply)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // What is held may have its turn.
  void ReleaseHeld(Slot slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  void RerouteRequests(const AttachFeedPtr& feed)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  void CloseStuckTo(const AttachFeedPtr& feed)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // Nothing of it is given to a service any more, and nobody waits for it.
  void EndConversation(Slot slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  void Settle(Slot slot, uint64_t number, AskOutcome outcome)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // The same, and the client is told that nobody waits for its reply.
  void GiveUp(Slot slot, uint64_t number, AskOutcome::Kind how)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  SendTally SendText(Slot slot, absl::string_view text)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);

  // Out of counts and sends, on to closing. False when it was closing already.
  bool BecomeClosing(Slot slot, std::optional<uint16_t> code,
                     const Ending& ending)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // The same, and closes the socket; a drain that is under way is cut when
  // `drain_for` is zero.
  bool Close(Slot slot, CloseCode code,
             absl::Duration drain_for = absl::ZeroDuration())
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // Sends to each, closes those that are too slow, and tallies.
  void Deliver(absl::Span<const Slot> slots, const FramePtr& frame,
               bool include_outcomes, SendTally& tally)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // The recipients of a command, excluded ones left out.
  absl::Span<const Slot> Recipients(const SendCommand& command,
                                    std::vector<Slot>& scratch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  // Labels and groups after a bulk update; false when they would pass a limit.
  static bool Apply(const BulkUpdateCommand& command, IdentityFields& identity);
  // Takes the new identity over. Closes the connection when that turns it into
  // one that a filter fence covers: one that was excluded from the fence's
  // close stays as long as nothing changes for the filter.
  void ChangeIdentity(Slot slot, ConnectionInfo info)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);
  void DrainSome() ABSL_EXCLUSIVE_LOCKS_REQUIRED(on_shard_);

  const uint8_t index_;
  SharedState& shared_;
  Transport& transport_;
  ShardStats stats_;

  ThreadRole on_shard_;
  SettingsPtr settings_ ABSL_GUARDED_BY(on_shard_);
  Registry registry_ ABSL_GUARDED_BY(on_shard_);
  std::vector<std::unique_ptr<Session>> sessions_ ABSL_GUARDED_BY(on_shard_);
  FenceSet fences_ ABSL_GUARDED_BY(on_shard_);
  WatchLog watches_ ABSL_GUARDED_BY(on_shard_);
  std::vector<AttachFeedPtr> attached_ ABSL_GUARDED_BY(on_shard_);
  Services services_ ABSL_GUARDED_BY(on_shard_);
  absl::node_hash_map<uint64_t, OpenRequest> requests_
      ABSL_GUARDED_BY(on_shard_);
  uint64_t last_message_ ABSL_GUARDED_BY(on_shard_) = 0;
  std::vector<SendResult> results_ ABSL_GUARDED_BY(on_shard_);  // of Deliver
  std::vector<Slot> recipients_ ABSL_GUARDED_BY(on_shard_);     // of Send

  Timer drain_timer_ ABSL_GUARDED_BY(on_shard_);
  std::vector<Slot> to_drain_ ABSL_GUARDED_BY(on_shard_);
  size_t drain_batch_ ABSL_GUARDED_BY(on_shard_) = 0;
  absl::AnyInvocable<void()> drained_ ABSL_GUARDED_BY(on_shard_);
};

}  // namespace broker
