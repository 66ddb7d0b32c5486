// UpdateConnection, UpdateConnectionsFiltered.

#include <algorithm>

#include "broker/control/convert.h"
#include "broker/control/fields.h"
#include "broker/control/handlers.h"

namespace broker::control {
namespace {

absl::StatusOr<UpdateCommand> ReadUpdate(
    const v1::UpdateConnectionRequest& request, const Caller& caller,
    const Clock& clock) {
  UpdateCommand command;
  command.within = caller.reach;
  BROKER_ASSIGN_OR_RETURN(command.id,
                          ReadUuid("connection_id", request.connection_id()));
  if (request.update_mask().paths().empty()) {
    return InvalidField("update_mask",
                        "is empty: name labels, groups or expires_at");
  }
  for (const std::string& path : request.update_mask().paths()) {
    const v1::Identity& identity = request.identity();
    if (path == "labels") {
      BROKER_ASSIGN_OR_RETURN(command.labels,
                              ReadLabels("identity.labels", identity.labels()));
    } else if (path == "groups") {
      BROKER_ASSIGN_OR_RETURN(command.groups,
                              ReadGroups("identity.groups", identity.groups()));
    } else if (path == "expires_at") {
      command.expires_at.emplace();
      if (identity.has_expires_at()) {
        BROKER_ASSIGN_OR_RETURN(
            *command.expires_at,
            ReadExpiry("identity.expires_at", identity.expires_at(), clock));
      }
    } else {
      return InvalidField(
          "update_mask", absl::StrCat("path ", Quoted(path),
                                      ": must be labels, groups or expires_at; "
                                      "a binding itself is for life"));
    }
  }
  if (request.has_expected_version()) {
    command.expected_version = request.expected_version();
  }
  return command;
}

absl::StatusOr<BulkUpdateCommand> ReadBulkUpdate(
    const v1::UpdateConnectionsFilteredRequest& request, const Caller& caller,
    Hub& hub) {
  BulkUpdateCommand command;
  BROKER_ASSIGN_OR_RETURN(command.ns,
                          ReadNamespace(request, caller, *hub.settings()));
  BROKER_ASSIGN_OR_RETURN(command.predicate, ReadSelector(request));
  command.within = caller.filter();
  command.predicate = Predicate::Both(command.within, command.predicate);
  BROKER_ASSIGN_OR_RETURN(command.add_groups,
                          ReadGroups("add_groups", request.add_groups()));
  BROKER_ASSIGN_OR_RETURN(command.remove_groups,
                          ReadGroups("remove_groups", request.remove_groups()));
  BROKER_ASSIGN_OR_RETURN(command.set_labels,
                          ReadLabels("set_labels", request.set_labels()));
  for (const std::string& key : request.unset_labels()) {
    BROKER_RETURN_IF_ERROR(CheckLabelKey("unset_labels", key));
    if (request.set_labels().contains(key)) {
      return InvalidField("unset_labels",
                          absl::StrCat(Quoted(key), " is in set_labels too"));
    }
    command.unset_labels.push_back(key);
  }
  for (const std::string& group : command.remove_groups) {
    if (std::binary_search(command.add_groups.begin(), command.add_groups.end(),
                           group)) {
      return InvalidField("remove_groups",
                          absl::StrCat(Quoted(group), " is in add_groups too"));
    }
  }
  if (command.add_groups.empty() && command.remove_groups.empty() &&
      command.set_labels.empty() && command.unset_labels.empty()) {
    return InvalidField("add_groups",
                        "nothing is to be changed: give add_groups, "
                        "remove_groups, set_labels or unset_labels");
  }
  return command;
}

}  // namespace

void UpdateConnection(Hub& hub, const Caller& caller,
                      const v1::UpdateConnectionRequest& request,
                      Done<v1::UpdateConnectionResponse> done) {
  auto command = ReadUpdate(request, caller, hub.clock());
  if (!command.ok()) return done(command.status());
  hub.Update(
      *std::move(command),
      [done = std::move(done)](absl::StatusOr<ConnectionInfoPtr> info) mutable {
        if (!info.ok()) return done(info.status());
        v1::UpdateConnectionResponse response;
        *response.mutable_connection() = ToProto(**info);
        done(std::move(response));
      });
}

void UpdateConnectionsFiltered(
    Hub& hub, const Caller& caller,
    const v1::UpdateConnectionsFilteredRequest& request,
    Done<v1::UpdateConnectionsFilteredResponse> done) {
  auto command = ReadBulkUpdate(request, caller, hub);
  if (!command.ok()) return done(command.status());
  hub.UpdateFiltered(*std::move(command),
                     [done = std::move(done)](
                         absl::StatusOr<BulkUpdateResult> result) mutable {
                       if (!result.ok()) return done(result.status());
                       v1::UpdateConnectionsFilteredResponse response;
                       response.set_matched(result->matched);
                       response.set_updated(result->updated);
                       response.set_over_limit(result->over_limit);
                       response.set_out_of_reach(result->out_of_reach);
                       done(std::move(response));
                     });
}

}  // namespace broker::control
