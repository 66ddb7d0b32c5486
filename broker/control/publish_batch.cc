#include "broker/control/publish_batch.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/control/call.h"
#include "broker/control/handlers.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/rpc/status.h"
#include "google/rpc/status.pb.h"

namespace broker::control {
namespace {

// Bytes that a batch may keep for the next one.
constexpr size_t kMaxKept = 64 * 1024;

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
  if constexpr (requires { request.validate_only(); }) {
    if (request.validate_only()) return TwoRounds("validate_only");
  }
  if constexpr (requires { request.has_max_connections(); }) {
    if (request.has_max_connections()) return TwoRounds("max_connections");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status PublishBatch::Check() const {
  if (request_.items_size() <= kMaxItems) return absl::OkStatus();
  return InvalidField("items",
                      absl::StrCat(request_.items_size(), " of them, at most ",
                                   kMaxItems, " are allowed in one request"));
}

void PublishBatch::Run(Hub& hub, absl::AnyInvocable<void()> done) {
  done_ = std::move(done);
  // One more, so that it is not done before all items are asked for.
  missing_ = request_.items_size() + 1;
  response_.mutable_results()->Reserve(request_.items_size());
  for (int i = 0; i < request_.items_size(); ++i) response_.add_results();
  {
    // What is sent within one task leaves in one write a connection.
    Hub::Together together(hub);
    for (int i = 0; i < request_.items_size(); ++i) RunItem(hub, i);
  }
  OneLess();
}

bool PublishBatch::Reuse() {
  if (request_.ByteSizeLong() + response_.ByteSizeLong() > kMaxKept) {
    return false;
  }
  request_.Clear();
  response_.Clear();
  return true;
}

void PublishBatch::OneLess() {
  if (missing_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    std::exchange(done_, nullptr)();
  }
}

void PublishBatch::Fail(int index, const absl::Status& status) {
  google::rpc::Status from = ToStatusProto(status);
  v1::PublishError* error = response_.mutable_results(index)->mutable_error();
  error->set_code(from.code());
  error->set_message(std::move(*from.mutable_message()));
  error->mutable_details()->Swap(from.mutable_details());
}

template <typename Request, typename Response, typename Handler>
void PublishBatch::RunCall(Hub& hub, int index, const char* method,
                           const Request& request, Handler handler,
                           Response* (v1::PublishResult::*field)()) {
  const absl::Status valid = CheckOneRound(request);
  if (!valid.ok()) {
    Fail(index, valid);
    return OneLess();
  }
  Done<Response> done = [self = shared_from_this(), index,
                         field](absl::StatusOr<Response> response) {
    if (response.ok()) {
      v1::PublishResult* result = self->response_.mutable_results(index);
      *(result->*field)() = *std::move(response);
    } else {
      self->Fail(index, response.status());
    }
    self->OneLess();
  };
  Call(hub, method, request, handler, std::move(done));
}

void PublishBatch::RunItem(Hub& hub, int index) {
  const v1::PublishItem& item = request_.items(index);
#define BROKER_ITEM(Method, field)                                     \
  case v1::PublishItem::k##Method:                                     \
    return RunCall(hub, index, #Method, item.field(), control::Method, \
                   &v1::PublishResult::mutable_##field);
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
