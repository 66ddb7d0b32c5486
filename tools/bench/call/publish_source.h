// PublishSource: calls as requests of one Publish stream, of many items each.

#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "socketbroker/v1/socket_broker.grpc.pb.h"
#include "tools/bench/call/pump.h"

namespace bench {

namespace v1 = socketbroker::v1;

class PublishSource
    : public Source,
      private grpc::ClientBidiReactor<v1::PublishRequest, v1::PublishResponse> {
 public:
  using Stub = v1::SocketBroker::StubInterface::async_interface;
  using Fill =
      std::function<void(size_t slot, uint64_t index, v1::PublishRequest*)>;

  PublishSource(Stub* stub, size_t flight, Fill fill);
  ~PublishSource() override;

  void Start(size_t slot, uint64_t index, Done done) override;

 private:
  struct Slot {
    v1::PublishRequest request;
    Done done;
  };

  void OnWriteDone(bool ok) override;
  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  // Nothing, or the slot whose request is to be written next.
  Slot* TakeWrite();
  void Answer(const Outcome& outcome);

  const Fill fill_;
  grpc::ClientContext context_;
  v1::PublishResponse response_;
  std::vector<Slot> slots_;
  std::mutex mu_;
  std::condition_variable changed_;
  std::deque<size_t> unwritten_;
  std::deque<size_t> unanswered_;
  bool writing_ = false;
  bool done_ = false;
};

}  // namespace bench
