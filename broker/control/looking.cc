// GetConnection, ListConnections, CountConnections.

#include "absl/strings/str_join.h"
#include "broker/control/convert.h"
#include "broker/control/fields.h"
#include "broker/control/handlers.h"
#include "broker/control/page.h"
#include "broker/control/token.h"

namespace broker::control {

void GetConnection(Hub& hub, const Caller& caller,
                   const v1::GetConnectionRequest& request,
                   Done<v1::GetConnectionResponse> done) {
  const auto id = ReadUuid("connection_id", request.connection_id());
  if (!id.ok()) return done(id.status());
  hub.Get(
      *id,
      [done =
           std::move(done)](absl::StatusOr<ConnectionDetails> details) mutable {
        if (!details.ok()) return done(details.status());
        v1::GetConnectionResponse response;
        v1::Connection& connection = *response.mutable_connection();
        connection = ToProto(*details->info);
        connection.set_outbox_bytes(details->outbox_bytes);
        connection.set_outbox_bytes_peak(details->outbox_bytes_peak);
        done(std::move(response));
      },
      caller.reach);
}

namespace {

absl::StatusOr<ListCommand> ReadList(const v1::ListConnectionsRequest& request,
                                     const Caller& caller, Hub& hub,
                                     std::string& binding) {
  ListCommand command;
  BROKER_ASSIGN_OR_RETURN(command.ns,
                          ReadNamespace(request, caller, *hub.settings()));
  BROKER_ASSIGN_OR_RETURN(command.predicate, ReadSelectorOrAll(request));
  command.predicate = Predicate::Both(caller.filter(), command.predicate);
  BROKER_ASSIGN_OR_RETURN(command.states, ReadStates(request.states()));
  BROKER_ASSIGN_OR_RETURN(command.limit, ReadPageSize(request.page_size()));
  binding = absl::StrCat("connections ", command.ns, " ",
                         command.predicate->fingerprint(), " ",
                         absl::StrJoin(request.states(), ","));
  if (!request.page_token().empty()) {
    BROKER_ASSIGN_OR_RETURN(
        const std::string position,
        ReadToken("page_token", request.page_token(), binding));
    BROKER_ASSIGN_OR_RETURN(command.after, ReadUuid("page_token", position));
  }
  return command;
}

}  // namespace

void ListConnections(Hub& hub, const Caller& caller,
                     const v1::ListConnectionsRequest& request,
                     Done<v1::ListConnectionsResponse> done) {
  std::string binding;
  auto command = ReadList(request, caller, hub, binding);
  if (!command.ok()) return done(command.status());
  const size_t size = command->limit;
  ++command->limit;  // One more tells whether there is another page.
  hub.List(*std::move(command),
           [size, binding = std::move(binding), done = std::move(done)](
               absl::StatusOr<std::vector<ConnectionInfoPtr>> page) mutable {
             if (!page.ok()) return done(page.status());
             v1::ListConnectionsResponse response;
             const size_t taken =
                 FillPage(*page, size, *response.mutable_connections());
             if (taken < page->size()) {
               response.set_next_page_token(
                   MakeToken(binding, (*page)[taken - 1]->id.ToString()));
             }
             done(std::move(response));
           });
}

void CountConnections(Hub& hub, const Caller& caller,
                      const v1::CountConnectionsRequest& request,
                      Done<v1::CountConnectionsResponse> done) {
  auto ns = ReadNamespace(request, caller, *hub.settings());
  if (!ns.ok()) return done(ns.status());
  auto predicate = ReadSelectorOrAll(request);
  if (!predicate.ok()) return done(predicate.status());
  hub.Count(*std::move(ns),
            Predicate::Both(caller.filter(), *std::move(predicate)),
            [done = std::move(done)](absl::StatusOr<uint64_t> count) mutable {
              if (!count.ok()) return done(count.status());
              v1::CountConnectionsResponse response;
              response.set_count(*count);
              done(std::move(response));
            });
}

}  // namespace broker::control
