// Hub: the whole of the broker behind its API. It fans a command out to the
// shards, or to the one that owns the connection, and gathers their answers.
//
// Thread-safe. Nothing blocks: a command answers through its Done, once, on a
// shard's thread, on the journal's, or at once on the caller's. When the broker
// is shutting down that answer is UNAVAILABLE.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "broker/core/mutex.h"
#include "broker/hub/ask_feed.h"
#include "broker/hub/commands.h"
#include "broker/hub/request_log.h"
#include "broker/hub/shard.h"
#include "broker/hub/shared_state.h"
#include "broker/hub/watch.h"

namespace broker {

class Hub {
 public:
  // One shard for each transport; both must outlive the last task they run.
  // Fences last as long as the hub.
  Hub(absl::Span<Transport* const> transports, SettingsPtr settings,
      const Clock& clock);
  // The fences of earlier runs hold from the first handshake on, and those to
  // come are answered when they are in the journal, which must outlive the hub.
  Hub(absl::Span<Transport* const> transports, SettingsPtr settings,
      const Clock& clock, JournalPast past, Journal* journal);
  ~Hub();

  // For endpoints with allow_callout. Before the transports start; must outlive
  // their last task.
  void SetCallout(Callout* callout) { shared_.callout = callout; }

  // What this thread asks of the hub while one of these lives reaches each
  // shard as one task, in the same order, when it ends. Not for several hubs at
  // once.
  class Together {
   public:
    explicit Together(Hub& hub);
    ~Together();
    Together(const Together&) = delete;
    Together& operator=(const Together&) = delete;

   private:
    friend class Hub;
    Hub& hub_;
    std::vector<std::vector<absl::AnyInvocable<void()>>> tasks_;  // by shard
  };

  absl::Span<Shard* const> shards() const { return shard_pointers_; }
  const Uuid& node_id() const { return node_id_; }
  const Clock& clock() const { return shared_.clock; }
  absl::Time start_time() const { return start_time_; }
  uint64_t epoch() const { return shared_.revocations.epoch(); }
  uint64_t oldest_epoch() const { return shared_.revocations.oldest_epoch(); }
  bool draining() const { return shared_.draining; }
  SettingsPtr settings() const;
  RequestLog& requests() { return requests_; }

  // For a caller with a reach, a connection outside of it is none: NOT_FOUND.

  // ---- binding ----
  void Bind(BindCommand command, Done<ConnectionInfoPtr> done);
  void Admit(const ConnectionId& id, Done<ConnectionInfoPtr> done,
             ReachPtr within = nullptr);
  void Update(UpdateCommand command, Done<ConnectionInfoPtr> done);
  void UpdateFiltered(BulkUpdateCommand command, Done<BulkUpdateResult> done);
  void Remove(const ConnectionId& id, Done<bool> done,
              ReachPtr within = nullptr);
  // Whether a binding that was answered before would still be allowed.
  void CheckFences(ConnectionInfo as_bound, uint64_t verified_at_epoch,
                   Done<bool> done);
  // Mints at once. The epoch is checked against the fences' range; whether one
  // of them refuses the identity is asked when the ticket is presented.
  absl::StatusOr<std::string> MintTicket(Ticket ticket);

  // ---- services ----
  // Starts the feed, or fails it. What it is told from then on is complete.
  void Attach(const AttachFeedPtr& feed, uint64_t handshake_credit);
  void AddHandshakeCredit(const AttachFeedPtr& feed, uint64_t credit);
  // The service is gone: its offers and messages go to others.
  void Detach(const AttachFeedPtr& feed);
  // It takes no more messages, and its stream ends well when it has replied to
  // those that it was given.
  void DrainService(const AttachFeedPtr& feed);
  // It takes none, and replies to none.
  void StopMessages(const AttachFeedPtr& feed);
  void Reply(const AttachFeedPtr& feed, ServiceReply reply);
  // Closes the client with 4006, when the offer stands and is this service's.
  void RefuseHandshake(const AttachFeedPtr& feed, uint64_t offer_id,
                       std::string reason);
  Offers::Figures offer_figures() const { return shared_.offers.figures(); }

  // ---- revocation ----
  void Revoke(RevokeCommand command, Done<RevokeResult> done);
  std::vector<FencePtr> ListRevocations(const std::optional<std::string>& ns,
                                        uint64_t after, size_t limit,
                                        const Reach* within = nullptr) const {
    return shared_.revocations.Page(ns, after, limit, within);
  }
  void LiftRevocation(const Uuid& id, Done<FencePtr> done,
                      const Reach* within = nullptr);

  // ---- delivery ----
  // A message with a tracker is answered when it has ended everywhere.
  void Send(SendCommand command, Done<SendTally> done);
  void SendTo(const ConnectionId& id, Outgoing message, Done<SendOutcome> done,
              ReachPtr within = nullptr);

  // ---- asking clients ----
  // Names a request that is under way, to give it up.
  struct Asked {
    ConnectionId id;
    uint64_t number = 0;  // for the shard
  };
  using AskedPtr = std::shared_ptr<Asked>;
  // Fails when the client could not be asked.
  AskedPtr Ask(const ConnectionId& id, AskCommand command,
               Done<AskOutcome> done, ReachPtr within = nullptr);
  // Its outcome is then kCancelled, unless it has one.
  void Unask(const AskedPtr& asked);
  // Asks every admitted connection that matches.
  AskFeedPtr AskFiltered(AskFilteredCommand command);

  // ---- looking ----
  void Get(const ConnectionId& id, Done<ConnectionDetails> done,
           ReachPtr within = nullptr);
  // In the order of ids, at most command.limit.
  void List(ListCommand command, Done<std::vector<ConnectionInfoPtr>> done);
  void Count(std::string ns, PredicatePtr predicate, Done<uint64_t> done);
  void CountByNamespace(Done<std::map<std::string, Registry::Counts>> done,
                        ReachPtr within = nullptr);
  // The feed gets a snapshot, then changes; or what came behind `positions`,
  // one for each shard.
  std::shared_ptr<WatchFeed> Watch(WatchSpec spec);
  std::shared_ptr<WatchFeed> WatchFrom(WatchSpec spec,
                                       std::vector<uint64_t> positions);

  // ---- memory ----
  // What the process has, as its monitor sees it. From kSoft on handshakes are
  // refused.
  void SetMemory(const MemoryStatus& memory);
  MemoryStatus memory() const;
  // Closes the connections with the largest outboxes, until those had so many
  // bytes; answers how many it closed.
  void Shed(uint64_t bytes, Done<uint64_t> done);

  // ---- life ----
  void Reload(SettingsPtr settings);
  // Refuses upgrades from now on; closes all connections with 1001, spread over
  // the time given, and calls `done` when the last socket is gone.
  void Drain(absl::Duration spread, absl::AnyInvocable<void()> done);

 private:
  void Post(size_t shard, absl::AnyInvocable<void()> task);
  // Runs `task` on every shard, and `finish` with what that returned:
  // fan_out.h.
  template <typename Task, typename Finish>
  void OnAll(Task task, Finish finish);
  // Runs `task`, which returns StatusOr<T>, on the shard that owns the
  // connection.
  template <typename T, typename Task>
  void OnOwner(const ConnectionId& id, Task task, Done<T> done);
  void EndMessages(const AttachFeedPtr& feed, bool still_replies);
  // Begins the time of offers, each on its shard.
  void OnOffered(const std::vector<Offers::Made>& offers);
  void Execute(std::shared_ptr<const RevokeCommand> command,
               Done<RevokeResult> done);
  void Close(std::shared_ptr<const RevokeCommand> command,
             RevocationLog::Recorded recorded, Done<RevokeResult> done);
  void Deliver(SendCommand command, Done<SendTally> done);

  SharedState shared_;
  const Uuid node_id_;
  const absl::Time start_time_;
  RequestLog requests_;
  std::vector<Transport*> transports_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<Shard*> shard_pointers_;
  mutable Mutex mu_;
  SettingsPtr settings_ ABSL_GUARDED_BY(mu_);
  MemoryStatus memory_ ABSL_GUARDED_BY(mu_);
};

}  // namespace broker
