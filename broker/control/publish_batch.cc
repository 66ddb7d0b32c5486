#include "broker/control/publish_batch.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/control/audit.h"
#include "broker/control/call.h"
#include "broker/control/handlers.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/rpc/status.h"
#include "google/rpc/status.pb.h"

namespace broker::control {
namespace {

// A request of a few dozen items fits into some blocks of these sizes.
google::protobuf::ArenaOptions Blocks() {
  google::protobuf::ArenaOptions options;
  options.start_block_size = 8 * 1024;
  options.max_block_size = 64 * 1024;
  return options;
}

// What is asked of all shards before it is done would let the next item pass.
absl::Status TwoRounds(absl::string_view field) {
  return InvalidField(field,
                      "is not for Publish, since it takes two rounds through "
                      "the broker: use the call of its own");
}

template <typename Request>
absl::Status CheckOneRound(const Request& request) {
  if constexpr (requires { request.include_outcomes(); }) {
    if (request.include_outcomes()) return TwoRounds("include_outcomes");
  }
  if constexpr (requires { request.await_written(); }) {
    if (request.await_written()) {
      return InvalidField("await_written",
                          "is not for Publish, since clients would hold up the "
                          "answers behind it: use the call of its own");
    }
  }
  if constexpr (requires { request.validate_only(); }) {
    if (request.validate_only()) return TwoRounds("validate_only");
  }
  if constexpr (requires { request.has_max_connections(); }) {
    if (request.has_max_connections()) return TwoRounds("max_connections");
  }
  return absl::OkStatus();
}

}  // namespace

PublishBatch::PublishBatch()
    : arena_(Blocks()),
      request_(
          google::protobuf::Arena::CreateMessage<v1::PublishRequest>(&arena_)),
      response_(google::protobuf::Arena::CreateMessage<v1::PublishResponse>(
          &arena_)) {}

absl::Status PublishBatch::Check() const {
  if (request_->items_size() <= kMaxItems) return absl::OkStatus();
  return InvalidField("items",
                      absl::StrCat(request_->items_size(), " of them, at most ",
                                   kMaxItems, " are allowed in one request"));
}

void PublishBatch::Run(Hub& hub, CallerPtr caller,
                       absl::AnyInvocable<void()> done) {
  caller_ = std::move(caller);
  done_ = std::move(done);
  const int items = request_->items_size();
  // One more, so that it is not done before all items are asked for.
  missing_ = items + 1;
  response_->mutable_results()->Reserve(items);
  for (int i = 0; i < items; ++i) response_->add_results();
  {
    // What is sent within one task leaves in one write a connection.
    Hub::Together together(hub);
    for (int i = 0; i < items; ++i) RunItem(hub, i);
  }
  OneLess();
}

// The last one's callback may be the end of the batch.
void PublishBatch::OneLess() {
  if (missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    if (control::AuditsSends() || denied_ > 0) AuditSends();
    std::exchange(done_, nullptr)();
  }
}

void PublishBatch::AuditSends() const {
  uint64_t sends = 0, errors = 0, queued = 0, dropped = 0;
  const auto add = [&](const auto& response) {
    ++sends;
    queued += response.queued();
    dropped += response.dropped_slow();
  };
  for (const v1::PublishResult& result : response_->results()) {
    if (result.has_send()) add(result.send());
    if (result.has_send_to_account()) add(result.send_to_account());
    if (result.has_broadcast_filtered()) add(result.broadcast_filtered());
    if (result.has_send_to_connection()) {
      ++sends;
      const v1::SendOutcome outcome = result.send_to_connection().outcome();
      queued += outcome == v1::SEND_OUTCOME_QUEUED;
      dropped += outcome == v1::SEND_OUTCOME_DROPPED_SLOW;
    }
    errors += result.has_error();
  }
  AuditLine line;
  line.caller = caller_->name;
  line.method = "Publish";
  line.counts = {{"items", static_cast<uint64_t>(response_->results_size())},
                 {"sends", sends},
                 {"queued", queued},
                 {"dropped_slow", dropped},
                 {"errors", errors},
                 {"denied", denied_}};
  if (denied_ > 0) line.outcome = absl::PermissionDeniedError("");
  WriteAudit(line);
}

void PublishBatch::Fail(int index, const absl::Status& status) {
  google::rpc::Status from = ToStatusProto(status);
  v1::PublishError* error = response_->mutable_results(index)->mutable_error();
  error->set_code(from.code());
  error->set_message(std::move(*from.mutable_message()));
  error->mutable_details()->Swap(from.mutable_details());
}

template <auto kField, typename Request, typename Response>
void PublishBatch::RunCall(Hub& hub, int index, const Rule& rule,
                           const Request& request,
                           void (*handler)(Hub&, const Caller&, const Request&,
                                           Done<Response>)) {
  const absl::Status valid = CheckOneRound(request);
  if (!valid.ok()) {
    Fail(index, valid);
    return OneLess();
  }
  // Made here, since an arena has other blocks for each thread that asks it.
  (response_->mutable_results(index)->*kField)();
  Done<Response> done = [this, index, &rule,
                         &request](absl::StatusOr<Response> response) {
    if (rule.effect == Effect::kChanges) {
      AuditCall(*caller_, rule, request, response, /*cancelled=*/false);
    } else if (absl::IsPermissionDenied(response.status())) {
      ++denied_;
    }
    if (response.ok()) {
      *(response_->mutable_results(index)->*kField)() = *std::move(response);
    } else {
      Fail(index, response.status());
    }
    OneLess();
  };
  Call(hub, *caller_, rule, request, handler, std::move(done));
}

void PublishBatch::RunItem(Hub& hub, int index) {
  const v1::PublishItem& item = request_->items(index);
#define BROKER_ITEM(Method, field)                       \
  case v1::PublishItem::k##Method:                       \
    return RunCall<&v1::PublishResult::mutable_##field>( \
        hub, index, RuleFor(#Method), item.field(), control::Method);
  switch (item.operation_case()) {
    BROKER_ITEM(Send, send)
    BROKER_ITEM(SendToConnection, send_to_connection)
    BROKER_ITEM(SendToAccount, send_to_account)
    BROKER_ITEM(BroadcastFiltered, broadcast_filtered)
    BROKER_ITEM(UpdateConnection, update_connection)
    BROKER_ITEM(UpdateConnectionsFiltered, update_connections_filtered)
    BROKER_ITEM(RemoveConnection, remove_connection)
    BROKER_ITEM(CloseSocketsForSession, close_sockets_for_session)
    BROKER_ITEM(CloseSocketsForAccount, close_sockets_for_account)
    BROKER_ITEM(CloseSocketsForToken, close_sockets_for_token)
    BROKER_ITEM(CloseSocketsFiltered, close_sockets_filtered)
    case v1::PublishItem::OPERATION_NOT_SET:
      break;
  }
#undef BROKER_ITEM
  Fail(index, InvalidField("operation",
                           "is missing, or unknown to this "
                           "version of the broker"));
  OneLess();
}

}  // namespace broker::control
