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

  // To be filled before Run.
  socketbroker::v1::PublishRequest& request() { return request_; }
  // INVALID_ARGUMENT for a request that must not be run.
  absl::Status Check() const;

  // Asks the hub for one item behind the other, and each shard does what it is
  // asked in that order. `done` is called once, when the last item is done. Not
  // twice at a time, and held by a shared_ptr.
  void Run(Hub& hub, absl::AnyInvocable<void()> done);

  // When it is done.
  const socketbroker::v1::PublishResponse& response() const {
    return response_;
  }

  // Empties it for another request, which will find the memory of this one.
  // False: that is too much to be kept.
  bool Reuse();

 private:
  void RunItem(Hub& hub, int index);
  template <typename Request, typename Response, typename Handler>
  void RunCall(Hub& hub, int index, const char* method, const Request& request,
               Handler handler,
               Response* (socketbroker::v1::PublishResult::*field)());
  void Fail(int index, const absl::Status& status);
  void OneLess();

  socketbroker::v1::PublishRequest request_;
  socketbroker::v1::PublishResponse response_;  // each item writes its own part
  std::atomic<int> missing_{0};
  absl::AnyInvocable<void()> done_;
};

}  // namespace broker::control
