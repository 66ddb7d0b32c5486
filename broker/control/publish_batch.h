// PublishBatch: one request of a Publish stream, under way. Thread-safe: its
// items are answered on the shards' threads.

#pragma once

#include <atomic>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "broker/hub/hub.h"
#include "broker/rpc/callers.h"
#include "google/protobuf/arena.h"
#include "socketbroker/v1/socket_broker.pb.h"

namespace broker::control {

class PublishBatch {
 public:
  static constexpr int kMaxItems = 1'000;

  PublishBatch();

  // To be filled before Run.
  socketbroker::v1::PublishRequest& request() { return *request_; }
  // INVALID_ARGUMENT for a request that must not be run.
  absl::Status Check() const;

  // Asks the hub for one item behind the other, and each shard does what it is
  // asked in that order. `done` is called once, when the last item is done: to
  // be called once, and the batch must live until then. Each item is held
  // against the roles of the caller.
  void Run(Hub& hub, CallerPtr caller, absl::AnyInvocable<void()> done);

  // When it is done.
  const socketbroker::v1::PublishResponse& response() const {
    return *response_;
  }

 private:
  void RunItem(Hub& hub, int index);
  // `kField` is where PublishResult has the response of this kind of item.
  template <auto kField, typename Request, typename Response>
  void RunCall(Hub& hub, int index, const Rule& rule, const Request& request,
               void (*handler)(Hub&, const Caller&, const Request&,
                               Done<Response>));
  void Fail(int index, const absl::Status& status);
  void OneLess();
  // One line for all that it sent, and for what was denied.
  void AuditSends() const;

  // Of the two messages and all that is in them: many small objects, made and
  // gone together.
  google::protobuf::Arena arena_;
  socketbroker::v1::PublishRequest* const request_;
  // Each item writes its own part.
  socketbroker::v1::PublishResponse* const response_;
  CallerPtr caller_;
  std::atomic<int> missing_{0};
  std::atomic<uint64_t> denied_{0};
  absl::AnyInvocable<void()> done_;
};

}  // namespace broker::control
