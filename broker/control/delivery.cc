// Send, SendToConnection, SendToAccount, BroadcastFiltered.

#include "broker/control/convert.h"
#include "broker/control/fields.h"
#include "broker/control/handlers.h"
#include "broker/control/message.h"

namespace broker::control {
namespace {

// Who waits for the end of a message; null: nobody.
template <typename Request>
absl::StatusOr<OutcomeTrackerPtr> ReadTracker(const Request& request,
                                              bool keep_each) {
  constexpr absl::Duration kMaxWait = absl::Minutes(1);
  if (!request.await_written()) return OutcomeTrackerPtr();
  if (!request.message().has_ttl()) {
    return InvalidField("message.ttl",
                        "is missing: with await_written it must be 1ms to 1m");
  }
  BROKER_RETURN_IF_ERROR(
      ReadDuration("message.ttl", true, request.message().ttl(), kMaxWait)
          .status());
  return std::make_shared<OutcomeTracker>(keep_each);
}

// The part that all sends to several share. Null: all are selected that the
// caller reaches.
template <typename Request>
absl::StatusOr<SendCommand> ReadSend(const Request& request,
                                     const Caller& caller, Hub& hub,
                                     PredicatePtr selected) {
  SendCommand command;
  const SettingsPtr settings = hub.settings();
  BROKER_ASSIGN_OR_RETURN(command.ns,
                          ReadNamespace(request, caller, *settings));
  BROKER_ASSIGN_OR_RETURN(OutcomeTrackerPtr tracker,
                          ReadTracker(request, request.include_outcomes()));
  BROKER_ASSIGN_OR_RETURN(
      const Outgoing message,
      ReadMessageFor(command.ns, *settings, request.has_message(),
                     request.message(), hub.clock().Monotonic(),
                     std::move(tracker)));
  command.frame = message.frame;
  BROKER_ASSIGN_OR_RETURN(PredicatePtr spared,
                          ReadExcludeFilter(request.has_exclude_filter(),
                                            request.exclude_filter()));
  command.predicate = Predicate::Both(
      Predicate::Both(caller.filter(), std::move(selected)), std::move(spared));
  BROKER_ASSIGN_OR_RETURN(command.exclude,
                          ReadExcluded(request.exclude_connection_ids()));
  command.include_outcomes = request.include_outcomes();
  return command;
}

template <typename Response>
void SendTo(Hub& hub, absl::StatusOr<SendCommand> command,
            Done<Response> done) {
  if (!command.ok()) return done(command.status());
  hub.Send(*std::move(command),
           [done = std::move(done)](absl::StatusOr<SendTally> tally) mutable {
             if (!tally.ok()) return done(tally.status());
             Response response;
             response.set_matched(tally->matched);
             response.set_queued(tally->queued);
             response.set_dropped_slow(tally->dropped_slow);
             response.set_written(tally->written);
             response.set_expired(tally->expired);
             response.set_gone(tally->gone);
             for (const auto& [id, outcome] : tally->outcomes) {
               v1::ConnectionOutcome* out = response.add_outcomes();
               out->set_connection_id(id.ToString());
               out->set_outcome(ToProto(outcome));
             }
             done(std::move(response));
           });
}

absl::StatusOr<SendCommand> ReadSendToAccount(
    const v1::SendToAccountRequest& request, const Caller& caller, Hub& hub) {
  BROKER_RETURN_IF_ERROR(
      CheckKey("account_id", request.has_account_id(), request.account_id()));
  BROKER_ASSIGN_OR_RETURN(SendCommand command,
                          ReadSend(request, caller, hub, nullptr));
  command.account_id = request.account_id();
  return command;
}

absl::StatusOr<SendCommand> ReadBroadcast(
    const v1::BroadcastFilteredRequest& request, const Caller& caller,
    Hub& hub) {
  BROKER_ASSIGN_OR_RETURN(PredicatePtr selected, ReadSelector(request));
  return ReadSend(request, caller, hub, std::move(selected));
}

}  // namespace

void Send(Hub& hub, const Caller& caller, const v1::SendRequest& request,
          Done<v1::SendResponse> done) {
  SendTo(hub, ReadSend(request, caller, hub, nullptr), std::move(done));
}

void SendToAccount(Hub& hub, const Caller& caller,
                   const v1::SendToAccountRequest& request,
                   Done<v1::SendToAccountResponse> done) {
  SendTo(hub, ReadSendToAccount(request, caller, hub), std::move(done));
}

void BroadcastFiltered(Hub& hub, const Caller& caller,
                       const v1::BroadcastFilteredRequest& request,
                       Done<v1::BroadcastFilteredResponse> done) {
  SendTo(hub, ReadBroadcast(request, caller, hub), std::move(done));
}

void SendToConnection(Hub& hub, const Caller& caller,
                      const v1::SendToConnectionRequest& request,
                      Done<v1::SendToConnectionResponse> done) {
  const auto id = ReadUuid("connection_id", request.connection_id());
  if (!id.ok()) return done(id.status());
  auto tracker = ReadTracker(request, /*keep_each=*/false);
  if (!tracker.ok()) return done(tracker.status());
  auto message = ReadMessage(request.has_message(), request.message(),
                             hub.clock().Monotonic(), *std::move(tracker));
  if (!message.ok()) return done(message.status());
  hub.SendTo(
      *id, *std::move(message),
      [done = std::move(done)](absl::StatusOr<SendOutcome> outcome) mutable {
        if (!outcome.ok()) return done(outcome.status());
        v1::SendToConnectionResponse response;
        response.set_outcome(ToProto(*outcome));
        done(std::move(response));
      },
      caller.reach);
}

}  // namespace broker::control
