// PublishBatch: one request of a Publish stream, under way. Thread-safe: its
// items are answered on the shards' threads.

#pragma once

#include <atomic>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "broker/hub/hub.h"
#include "socketbroker/v1/socket_broker.pb.h"

namespace broker::control {

class PublishBatch : public std::enable_shared_from_this<PublishBatch> {
 public:
  static constexpr int kMaxItems = 1'000;

  // INVALID_ARGUMENT for a request that must not be run.
  static absl::Status Check(const socketbroker::v1::PublishRequest& request);

  // `done` is called once, when the last item is done.
  PublishBatch(socketbroker::v1::PublishRequest request,
               absl::AnyInvocable<void()> done);

  // Asks the hub for one item behind the other, and each shard does what it is
  // asked in that order. Once, and held by a shared_ptr.
  void Run(Hub& hub);

  // When it is done.
  const socketbroker::v1::PublishResponse& response() const {
    return response_;
  }

 private:
  void RunItem(Hub& hub, int index);
  template <typename Request, typename Response, typename Handler>
  void RunCall(Hub& hub, int index, const char* method, const Request& request,
               Handler handler,
               Response* (socketbroker::v1::PublishResult::*field)());
  void Fail(int index, const absl::Status& status);
  void OneLess();

  const socketbroker::v1::PublishRequest request_;
  socketbroker::v1::PublishResponse response_;  // each item writes its own part
  std::atomic<int> missing_;
  absl::AnyInvocable<void()> done_;
};

}  // namespace broker::control
