// The four closes, ListRevocations and LiftRevocation.

#include "broker/control/convert.h"
#include "broker/control/fields.h"
#include "broker/control/handlers.h"
#include "broker/control/page.h"
#include "broker/control/token.h"

namespace broker::control {
namespace {

constexpr absl::Duration kMaxDrain = absl::Seconds(5);
constexpr absl::Duration kMaxBlock = absl::Hours(24 * 30);

// The part that all closes share.
template <typename Request>
absl::Status ReadClose(const Request& request, RevokeCommand& command) {
  BROKER_ASSIGN_OR_RETURN(const std::optional<absl::Duration> drain_for,
                          ReadDuration("drain_for", request.has_drain_for(),
                                       request.drain_for(), kMaxDrain));
  command.drain_for = drain_for.value_or(absl::ZeroDuration());
  BROKER_ASSIGN_OR_RETURN(command.exclude,
                          ReadExcluded(request.exclude_connection_ids()));
  command.validate_only = request.validate_only();
  return absl::OkStatus();
}

// The part that the closes by key share.
template <typename Request>
absl::StatusOr<RevokeCommand> ReadCloseByKey(RevocationTarget::Kind kind,
                                             absl::string_view field,
                                             bool present,
                                             const std::string& key,
                                             const Request& request,
                                             const Caller& caller, Hub& hub) {
  RevokeCommand command;
  command.target.kind = kind;
  BROKER_RETURN_IF_ERROR(CheckKey(field, present, key));
  command.target.key = key;
  BROKER_ASSIGN_OR_RETURN(command.target.namespaces,
                          ReadNamespaces(request, caller, *hub.settings()));
  command.target.within = caller.filter();
  BROKER_ASSIGN_OR_RETURN(command.block_for,
                          ReadDuration("block_for", request.has_block_for(),
                                       request.block_for(), kMaxBlock));
  BROKER_RETURN_IF_ERROR(ReadClose(request, command));
  return command;
}

absl::Status ReadFence(const v1::CloseSocketsFilteredRequest& request,
                       RevokeCommand& command) {
  command.fence = request.fence();
  BROKER_ASSIGN_OR_RETURN(command.block_for,
                          ReadDuration("fence_ttl", request.has_fence_ttl(),
                                       request.fence_ttl(), kMaxBlock));
  if (!command.fence) {
    if (command.block_for) {
      return InvalidField("fence_ttl", "is set without fence");
    }
    return absl::OkStatus();
  }
  if (!command.block_for) {
    return InvalidField("fence_ttl", "is missing, and fence needs it");
  }
  const Predicate& predicate = *command.target.predicate;
  if (predicate.uses_connection_id() || predicate.uses_connect_time()) {
    return InvalidField(
        "fence", absl::StrCat("the filter has ",
                              predicate.uses_connection_id() ? "connection_id"
                                                             : "connect_time",
                              ", which says nothing of bindings to come"));
  }
  return absl::OkStatus();
}

absl::StatusOr<RevokeCommand> ReadCloseFiltered(
    const v1::CloseSocketsFilteredRequest& request, const Caller& caller,
    Hub& hub) {
  RevokeCommand command;
  command.target.kind = RevocationTarget::Kind::kFilter;
  command.target.within = caller.filter();
  if (request.all_namespaces()) {
    if (request.has_namespace_()) {
      return InvalidField("namespace", "is set together with all_namespaces");
    }
    command.target.namespaces = caller.namespaces();
  } else {
    BROKER_ASSIGN_OR_RETURN(const std::string ns,
                            ReadNamespace(request, caller, *hub.settings()));
    command.target.namespaces = {ns};
  }
  BROKER_ASSIGN_OR_RETURN(command.target.predicate, ReadSelector(request));
  BROKER_RETURN_IF_ERROR(ReadFence(request, command));
  if (request.has_max_connections()) {
    command.max_connections = request.max_connections();
  }
  BROKER_RETURN_IF_ERROR(ReadClose(request, command));
  return command;
}

template <typename Response>
void Revoke(Hub& hub, absl::StatusOr<RevokeCommand> command,
            Done<Response> done) {
  if (!command.ok()) return done(command.status());
  hub.Revoke(
      *std::move(command),
      [done = std::move(done)](absl::StatusOr<RevokeResult> result) mutable {
        if (!result.ok()) return done(result.status());
        Response response;
        response.set_closed(result->closed);
        response.set_epoch(result->epoch);
        if (result->revocation_id) {
          response.set_revocation_id(result->revocation_id->ToString());
        }
        done(std::move(response));
      });
}

}  // namespace

void CloseSocketsForSession(Hub& hub, const Caller& caller,
                            const v1::CloseSocketsForSessionRequest& request,
                            Done<v1::CloseSocketsForSessionResponse> done) {
  Revoke(hub,
         ReadCloseByKey(RevocationTarget::Kind::kSession, "token_hash",
                        request.has_token_hash(), request.token_hash(), request,
                        caller, hub),
         std::move(done));
}

void CloseSocketsForAccount(Hub& hub, const Caller& caller,
                            const v1::CloseSocketsForAccountRequest& request,
                            Done<v1::CloseSocketsForAccountResponse> done) {
  auto command = ReadCloseByKey(RevocationTarget::Kind::kAccount, "account_id",
                                request.has_account_id(), request.account_id(),
                                request, caller, hub);
  if (command.ok() && request.has_keep_token_hash()) {
    const absl::Status valid =
        CheckKey("keep_token_hash", true, request.keep_token_hash());
    if (!valid.ok()) return done(valid);
    command->target.keep_token_hash = request.keep_token_hash();
  }
  Revoke(hub, std::move(command), std::move(done));
}

void CloseSocketsForToken(Hub& hub, const Caller& caller,
                          const v1::CloseSocketsForTokenRequest& request,
                          Done<v1::CloseSocketsForTokenResponse> done) {
  Revoke(hub,
         ReadCloseByKey(RevocationTarget::Kind::kToken, "api_token_id",
                        request.has_api_token_id(), request.api_token_id(),
                        request, caller, hub),
         std::move(done));
}

void CloseSocketsFiltered(Hub& hub, const Caller& caller,
                          const v1::CloseSocketsFilteredRequest& request,
                          Done<v1::CloseSocketsFilteredResponse> done) {
  Revoke(hub, ReadCloseFiltered(request, caller, hub), std::move(done));
}

namespace {

absl::StatusOr<v1::ListRevocationsResponse> List(
    Hub& hub, const Caller& caller, const v1::ListRevocationsRequest& request) {
  std::optional<std::string> ns;
  if (request.has_namespace_()) {
    BROKER_ASSIGN_OR_RETURN(ns,
                            ReadNamespace(request, caller, *hub.settings()));
  }
  BROKER_ASSIGN_OR_RETURN(const size_t size, ReadPageSize(request.page_size()));
  const std::string binding = absl::StrCat("revocations ", ns.value_or("*"));
  uint64_t after = 0;
  if (!request.page_token().empty()) {
    BROKER_ASSIGN_OR_RETURN(
        const std::string position,
        ReadToken("page_token", request.page_token(), binding));
    // Anybody can make a token: its hash tells damage, not forgery.
    const std::vector<uint64_t> numbers = UnpackNumbers(position);
    if (numbers.size() != 1) {
      return InvalidField("page_token", "was not given by ListRevocations");
    }
    after = numbers[0];
  }
  const std::vector<FencePtr> page =
      hub.ListRevocations(ns, after, size + 1, caller.reach.get());
  v1::ListRevocationsResponse response;
  const size_t taken = FillPage(page, size, *response.mutable_revocations());
  if (taken < page.size()) {
    response.set_next_page_token(
        MakeToken(binding, PackNumbers({page[taken - 1]->epoch})));
  }
  return response;
}

}  // namespace

void ListRevocations(Hub& hub, const Caller& caller,
                     const v1::ListRevocationsRequest& request,
                     Done<v1::ListRevocationsResponse> done) {
  done(List(hub, caller, request));
}

void LiftRevocation(Hub& hub, const Caller& caller,
                    const v1::LiftRevocationRequest& request,
                    Done<v1::LiftRevocationResponse> done) {
  const auto id = ReadUuid("revocation_id", request.revocation_id());
  if (!id.ok()) return done(id.status());
  hub.LiftRevocation(
      *id,
      [done = std::move(done)](absl::StatusOr<FencePtr> fence) mutable {
        if (!fence.ok()) return done(fence.status());
        v1::LiftRevocationResponse response;
        *response.mutable_revocation() = ToProto(**fence);
        done(std::move(response));
      },
      caller.reach.get());
}

}  // namespace broker::control
