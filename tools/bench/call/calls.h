// Calls: the sources of every call that the benchmarks make, and the identities
// of their clients.

#pragma once

#include <grpcpp/client_context.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "socketbroker/v1/socket_broker.grpc.pb.h"
#include "tools/bench/call/context.h"
#include "tools/bench/call/pump.h"
#include "tools/bench/common/commands.h"
#include "tools/bench/common/payload.h"

namespace bench {

namespace v1 = socketbroker::v1;

template <typename Request, typename Response>
class UnarySource : public Source {
 public:
  using Stub = v1::SocketBroker::StubInterface::async_interface;
  using Method = void (Stub::*)(grpc::ClientContext*, const Request*, Response*,
                                std::function<void(grpc::Status)>);
  using Fill = std::function<void(size_t slot, uint64_t index, Request*)>;
  using Read = std::function<void(uint64_t index, const Response&, Outcome*)>;

  UnarySource(Stub* stub, Method method, size_t flight, Fill fill, Read read)
      : stub_(stub),
        method_(method),
        slots_(flight),
        fill_(std::move(fill)),
        read_(std::move(read)) {}

  void Start(size_t slot, uint64_t index, Done done) override {
    Slot& at = slots_[slot];
    at.context.emplace();
    Prepare(*at.context, std::chrono::seconds(10));
    at.response.Clear();
    fill_(slot, index, &at.request);
    (stub_->*method_)(
        &*at.context, &at.request, &at.response,
        [this, &at, index, done = std::move(done)](const grpc::Status& status) {
          Outcome outcome;
          if (status.ok()) {
            read_(index, at.response, &outcome);
          } else {
            outcome.error = status.error_message();
            if (outcome.error.empty()) outcome.error = "failed";
          }
          done(outcome);
        });
  }

 private:
  struct Slot {
    std::optional<grpc::ClientContext> context;
    Request request;
    Response response;
  };

  Stub* const stub_;
  const Method method_;
  std::vector<Slot> slots_;
  const Fill fill_;
  const Read read_;
};

// The identity of client `i`: an account of its own, a session, two labels and
// two groups. The first `leavers` are of cohort "leave", by label and by group,
// the others of "stay"; ten share a team.
v1::Identity MakeIdentity(uint64_t i, uint64_t leavers);

class Calls {
 public:
  explicit Calls(const std::string& target);

  // Null: there is no such call. What each takes is at the head of main.cc.
  std::unique_ptr<Source> Make(const Command& command, size_t flight);

  // Minted since the last time, in the order of the accounts.
  std::vector<std::string> TakeTickets() { return std::exchange(tickets_, {}); }

 private:
  std::unique_ptr<Source> Mint(const Command& command, size_t flight);
  std::unique_ptr<Source> Broadcast(const Command& command, size_t flight);
  std::unique_ptr<Source> SendToAll(const Command& command, size_t flight);
  std::unique_ptr<Source> SendToAccount(const Command& command, size_t flight);
  std::unique_ptr<Source> Publish(const Command& command, size_t flight);
  std::unique_ptr<Source> Close(const Command& command, size_t flight);
  std::unique_ptr<Source> Revoke(const Command& command, size_t flight);
  std::unique_ptr<Source> Ask(const Command& command, size_t flight);
  std::unique_ptr<Source> Info(size_t flight);

  // The next message of this slot.
  void NextMessage(size_t slot, size_t size, v1::Message* message);
  uint64_t ReadEpoch();
  // Of the first thousand connections.
  std::vector<std::string> ReadIds(const std::string& ns);

  const std::unique_ptr<v1::SocketBroker::StubInterface> stub_;
  std::vector<std::string> tickets_;
  std::array<uint64_t, kMaxSenders> sent_{};  // by sender
  std::optional<size_t> one_sender_;          // instead of the slot's
};

}  // namespace bench
