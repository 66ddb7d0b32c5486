// That clients are let in at once, and batch by batch when there is no room.

#include "broker/ws/acceptor.h"

#include <unistd.h>

#include <memory>
#include <optional>
#include <vector>

#include "broker/ws/net.h"
#include "gtest/gtest.h"
#include "tests/fakes/ws_client.h"

namespace broker::testing {
namespace {

using std::chrono::milliseconds;

constexpr size_t kBatch = 64;

class AcceptorTest : public ::testing::Test {
 protected:
  AcceptorTest()
      : loop_([this](void*, uint32_t) { acceptor_->OnEvent(); }, [] {}) {
    const absl::StatusOr<Listeners> listeners = Listen("127.0.0.1", 0, 1);
    EXPECT_TRUE(listeners.ok());
    port_ = listeners->port;
    acceptor_.emplace(
        loop_, listeners->fds[0],
        [this](int fd, const sockaddr_storage&) {
          close(fd);
          accepted_.push_back(loop_.now());
          if (accepted_.size() == waiting_.size()) loop_.Stop();
          return room_;
        },
        failures_);
  }

  // Runs the loop until that many clients, who wait already, are accepted.
  void Accept(size_t clients) {
    for (size_t i = 0; i < clients; ++i) {
      waiting_.push_back(std::make_unique<WsClient>());
      ASSERT_TRUE(waiting_.back()->Connect(port_));
    }
    loop_.Run();
  }

  bool room_ = true;
  std::vector<std::unique_ptr<WsClient>> waiting_;
  std::vector<MonotonicTime> accepted_;
  Counter failures_;
  EventLoop loop_;
  std::optional<Acceptor> acceptor_;
  uint16_t port_ = 0;
};

TEST_F(AcceptorTest, WhoHasRoomDoesNotWait) {
  Accept(2 * kBatch + 1);
  EXPECT_TRUE(loop_.timers().idle());
}

TEST_F(AcceptorTest, WithoutRoomTheNextBatchWaits) {
  room_ = false;
  Accept(2 * kBatch + 1);
  EXPECT_EQ(accepted_[kBatch - 1], accepted_[0]);
  for (const size_t next : {kBatch, 2 * kBatch}) {
    EXPECT_GE(accepted_[next] - accepted_[next - 1], milliseconds(50)) << next;
  }
  EXPECT_EQ(failures_.value(), 0u);
}

}  // namespace
}  // namespace broker::testing
