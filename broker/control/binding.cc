// AddConnection, AdmitConnection, RemoveConnection, CreateTicket.

#include <chrono>

#include "broker/control/convert.h"
#include "broker/control/fields.h"
#include "broker/control/handlers.h"

namespace broker::control {
namespace {

constexpr absl::Duration kDefaultTicketTtl = absl::Seconds(30);
constexpr absl::Duration kMaxTicketTtl = absl::Seconds(60);
constexpr int kMaxTicketOrigins = 16;

absl::StatusOr<BindCommand> ReadBind(const v1::AddConnectionRequest& request,
                                     const Caller& caller, const Clock& clock) {
  BindCommand command;
  command.within = caller.reach;
  BROKER_ASSIGN_OR_RETURN(command.id,
                          ReadUuid("connection_id", request.connection_id()));
  BROKER_ASSIGN_OR_RETURN(command.identity,
                          ReadIdentity("identity", request.has_identity(),
                                       request.identity(), clock));
  command.hold = request.hold();
  if (request.has_verified_at_epoch()) {
    command.verified_at_epoch = request.verified_at_epoch();
  }
  return command;
}

absl::StatusOr<Ticket> ReadTicket(const v1::CreateTicketRequest& request,
                                  const Caller& caller, Hub& hub,
                                  absl::Duration& ttl) {
  Ticket ticket;
  BROKER_ASSIGN_OR_RETURN(ticket.ns,
                          ReadNamespace(request, caller, *hub.settings()));
  BROKER_ASSIGN_OR_RETURN(ticket.identity,
                          ReadIdentity("identity", request.has_identity(),
                                       request.identity(), hub.clock()));
  if (!request.has_verified_at_epoch()) {
    return InvalidField("verified_at_epoch",
                        absl::StrCat("is missing: give the epoch that was read "
                                     "before the credential was verified; it "
                                     "is now ",
                                     hub.epoch()));
  }
  ticket.verified_at_epoch = request.verified_at_epoch();
  BROKER_ASSIGN_OR_RETURN(
      const std::optional<absl::Duration> given,
      ReadDuration("ttl", request.has_ttl(), request.ttl(), kMaxTicketTtl));
  ttl = given.value_or(kDefaultTicketTtl);
  ticket.expires = hub.clock().Monotonic() +
                   std::chrono::milliseconds(absl::ToInt64Milliseconds(ttl));
  if (request.allowed_origins_size() > kMaxTicketOrigins) {
    return InvalidField(
        "allowed_origins",
        absl::StrCat(request.allowed_origins_size(), " origins, at most ",
                     kMaxTicketOrigins, " are allowed"));
  }
  ticket.allowed_origins.assign(request.allowed_origins().begin(),
                                request.allowed_origins().end());
  return ticket;
}

}  // namespace

void AddConnection(Hub& hub, const Caller& caller,
                   const v1::AddConnectionRequest& request,
                   Done<v1::AddConnectionResponse> done) {
  auto command = ReadBind(request, caller, hub.clock());
  if (!command.ok()) return done(command.status());
  hub.Bind(*std::move(command),
           [&hub, done = std::move(done)](
               absl::StatusOr<ConnectionInfoPtr> info) mutable {
             if (!info.ok()) return done(info.status());
             v1::AddConnectionResponse response;
             *response.mutable_connection() = ToProto(**info);
             response.set_epoch(hub.epoch());
             done(std::move(response));
           });
}

void RepeatAddConnection(Hub& hub, const Caller& caller,
                         const v1::AddConnectionRequest& request,
                         v1::AddConnectionResponse answer,
                         Done<v1::AddConnectionResponse> done) {
  const auto command = ReadBind(request, caller, hub.clock());
  if (!command.ok()) return done(command.status());
  ConnectionInfo as_bound;
  as_bound.id = command->id;
  as_bound.ns = answer.connection().namespace_();
  as_bound.endpoint = answer.connection().endpoint();
  as_bound.remote_address = answer.connection().remote_address();
  as_bound.identity = command->identity;
  // A reload may have narrowed the reach.
  const absl::Status reach = caller.CheckReach(as_bound);
  if (!reach.ok()) return done(reach);
  const uint64_t verified_at =
      command->verified_at_epoch.value_or(answer.connection().epoch());
  hub.CheckFences(std::move(as_bound), verified_at,
                  [answer = std::move(answer), done = std::move(done)](
                      absl::StatusOr<bool> allowed) mutable {
                    if (!allowed.ok()) return done(allowed.status());
                    done(std::move(answer));
                  });
}

void AdmitConnection(Hub& hub, const Caller& caller,
                     const v1::AdmitConnectionRequest& request,
                     Done<v1::AdmitConnectionResponse> done) {
  const auto id = ReadUuid("connection_id", request.connection_id());
  if (!id.ok()) return done(id.status());
  hub.Admit(
      *id,
      [done = std::move(done)](absl::StatusOr<ConnectionInfoPtr> info) mutable {
        if (!info.ok()) return done(info.status());
        v1::AdmitConnectionResponse response;
        *response.mutable_connection() = ToProto(**info);
        done(std::move(response));
      },
      caller.reach);
}

void RemoveConnection(Hub& hub, const Caller& caller,
                      const v1::RemoveConnectionRequest& request,
                      Done<v1::RemoveConnectionResponse> done) {
  const auto id = ReadUuid("connection_id", request.connection_id());
  if (!id.ok()) return done(id.status());
  hub.Remove(
      *id,
      [done = std::move(done)](absl::StatusOr<bool> removed) mutable {
        if (!removed.ok()) return done(removed.status());
        v1::RemoveConnectionResponse response;
        response.set_removed(*removed);
        done(std::move(response));
      },
      caller.reach);
}

void CreateTicket(Hub& hub, const Caller& caller,
                  const v1::CreateTicketRequest& request,
                  Done<v1::CreateTicketResponse> done) {
  absl::Duration ttl;
  auto ticket = ReadTicket(request, caller, hub, ttl);
  if (!ticket.ok()) return done(ticket.status());
  // Asked again when the ticket is presented: refusing early tells the caller.
  ConnectionInfo as_bound;
  as_bound.ns = ticket->ns;
  as_bound.identity = ticket->identity;
  const absl::Status reach = caller.CheckReach(as_bound);
  if (!reach.ok()) return done(reach);
  const uint64_t epoch = ticket->verified_at_epoch;
  hub.CheckFences(
      std::move(as_bound), epoch,
      [&hub, ttl, ticket = *std::move(ticket),
       done = std::move(done)](absl::StatusOr<bool> allowed) mutable {
        if (!allowed.ok()) return done(allowed.status());
        auto secret = hub.MintTicket(std::move(ticket));
        if (!secret.ok()) return done(secret.status());
        v1::CreateTicketResponse response;
        response.set_ticket(*std::move(secret));
        FromTime(hub.clock().Now() + ttl, response.mutable_expire_time());
        response.set_epoch(hub.epoch());
        done(std::move(response));
      });
}

}  // namespace broker::control
