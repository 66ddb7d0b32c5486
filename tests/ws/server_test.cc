// The server as a whole: addresses, the want of descriptors, tasks, churn,
// stop.

#include "broker/ws/server.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "broker/core/log.h"
#include "gtest/gtest.h"
#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

class ServerTest : public WsFixture {};

TEST_F(ServerTest, NobodyElseMayShareThePort) {
  Start(2);
  for (const int shards : {1, 2}) {
    WsServer second({"127.0.0.1", port(), shards, nullptr});
    const absl::Status status = second.Bind();
    EXPECT_EQ(status.message(),
              absl::StrCat("cannot listen on 127.0.0.1 port ", port(),
                           ": Address already in use"));
  }
  // Nor does the first suffer.
  WsClient client;
  EXPECT_EQ(client.Handshake(port()).status, 101);
}

TEST_F(ServerTest, NamesWhatIsNoAddress) {
  WsServer server({"localhost", 0, 1, nullptr});
  EXPECT_EQ(server.Bind().message(),
            "cannot listen on localhost: it is no IPv4 or IPv6 address");
}

TEST_F(ServerTest, ListensOnIpv6) {
  const int probe = socket(AF_INET6, SOCK_STREAM, 0);
  if (probe < 0) GTEST_SKIP() << "no IPv6 here";
  close(probe);
  Start(2, "::1");
  WsClient client;
  ASSERT_TRUE(client.Connect(port(), "::1"));
  client.SendRaw(UpgradeRequest().Encode());
  EXPECT_EQ(client.ReadResponse().status, 101);
}

TEST_F(ServerTest, ShardsShareThePort) {
  Start(2);
  std::vector<std::unique_ptr<WsClient>> clients;
  for (int i = 0; i < 64; ++i) {
    clients.push_back(std::make_unique<WsClient>());
    ASSERT_EQ(clients.back()->Handshake(port()).status, 101);
  }
  uint64_t sum = 0;
  for (size_t shard : {0, 1}) {
    EXPECT_GT(stats(shard).sockets_accepted.value(), 0u);
    sum += stats(shard).sockets_accepted.value();
  }
  EXPECT_EQ(sum, 64u);
}

TEST_F(ServerTest, TasksRunInOrder) {
  Start();
  std::vector<int> ran;
  for (int i = 0; i < 1000; ++i) {
    transport().Post([&ran, i] { ran.push_back(i); });
  }
  OnShard([] {});
  ASSERT_EQ(ran.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
}

TEST_F(ServerTest, TasksAfterTheEndAreDestroyedUnrun) {
  Start();
  server_->Stop();
  const auto token = std::make_shared<int>(0);
  bool ran = false;
  transport().Post([token, &ran] { ran = true; });
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_FALSE(ran);
  server_->Stop();
}

TEST_F(ServerTest, ATaskThatThrowsEndsNothing) {
  Start();
  transport().Post([] { throw std::runtime_error("task"); });
  OnShard([] {});
  WsClient client;
  EXPECT_EQ(client.Handshake(port()).status, 101);
}

TEST_F(ServerTest, TimersFireOnTheShard) {
  Start();
  Timer timer;
  std::promise<void> fired;
  OnShard([&] {
    transport().timers().Arm(
        timer, Clock::System().Monotonic() + std::chrono::milliseconds(60),
        [&] { fired.set_value(); });
  });
  EXPECT_EQ(fired.get_future().wait_for(kPatience), std::future_status::ready);
}

TEST_F(ServerTest, StopsAcceptingButServes) {
  Start(2);
  WsClient client;
  ASSERT_EQ(client.Handshake(port()).status, 101);
  server_->StopAccepting();
  for (size_t shard : {0, 1}) OnShard([] {}, shard);
  WsClient late;
  EXPECT_FALSE(late.Connect(port()));
  client.SendFrame(WsClient::kPing, "");
  EXPECT_EQ(client.Read()->opcode, WsClient::kPong);
}

TEST_F(ServerTest, StopEndsEverySocket) {
  Start();
  WsClient open;
  ASSERT_EQ(open.Handshake(port()).status, 101);
  WsClient silent;
  ASSERT_TRUE(silent.Connect(port()));
  ASSERT_TRUE(WaitFor([&] { return stats().sockets_accepted.value() == 2; }));
  server_->Stop();
  EXPECT_NE(open.WaitClosed().how, WsEnd::How::kTimeout);
  EXPECT_NE(silent.WaitClosed().how, WsEnd::How::kTimeout);
  EXPECT_EQ(Closes(1006), 1u);
  EXPECT_EQ(hub_->shards()[0]->caps().sockets(), 0u);
}

TEST_F(ServerTest, SurvivesTheWantOfDescriptors) {
  std::atomic<bool> told = false;
  SetLogSink([&](absl::string_view line) {
    if (absl::StrContains(line, "accept_failed")) told = true;
  });
  // UBSan looks at a class the first time only, and needs descriptors for it.
  Log(LogLevel::kInfo, "test", "there is a logger");
  Start();
  WsClient before;
  ASSERT_EQ(before.Handshake(port()).status, 101);
  // The clients' descriptors are there; those for accept are not.
  std::vector<std::unique_ptr<WsClient>> clients;
  rlimit saved{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &saved), 0);
  const int free_descriptor = dup(0);
  close(free_descriptor);
  OnShard([&] {
    for (int i = 0; i < 20; ++i) {
      clients.push_back(std::make_unique<WsClient>());
      EXPECT_TRUE(clients.back()->Connect(port()));
    }
    const rlimit none{static_cast<rlim_t>(free_descriptor), saved.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  });
  EXPECT_TRUE(WaitFor([&] { return stats().accept_failures.value() > 0; }));
  for (const auto& client : clients) {
    EXPECT_NE(client->WaitClosed().how, WsEnd::How::kTimeout);
  }
  before.SendFrame(WsClient::kPing, "");
  EXPECT_EQ(before.Read()->opcode, WsClient::kPong);
  // It pauses, so there are few of these, not thousands.
  EXPECT_LE(stats().accept_failures.value(), 5u);
  setrlimit(RLIMIT_NOFILE, &saved);
  EXPECT_TRUE(told) << "the log says nothing";
  SetLogSink(nullptr);
  WsClient after;
  EXPECT_EQ(after.Handshake(port()).status, 101);
}

// What one client of the churn does.
void Misbehave(uint16_t port, std::mt19937& random) {
  WsClient client;
  if (random() % 4 == 0) client.SetReceiveBuffer(4096);
  if (random() % 8 == 0) {
    client.Connect(port);
    if (random() % 2 == 0) client.SendRaw("GET /ws HTTP/1.1\r\n");
  } else {
    const HttpResponse response = client.Handshake(port);
    // The broker may have closed it already.
    if (response.status == 101) {
      const auto messages = random() % 4;
      for (size_t i = 0; i < messages; ++i) {
        client.SendText(std::string(random() % 3000, 'x'));
        client.SendFrame(WsClient::kPing, "p");
      }
      if (random() % 3 == 0) client.SendClose(1000);
      if (random() % 3 == 0) client.Read(std::chrono::milliseconds(20));
    }
  }
  random() % 2 == 0 ? client.Reset() : client.Disconnect();
}

TEST_F(ServerTest, ChurnLeavesNothing) {
  settings_.limits.max_pings_per_second = 0;
  Start(2);
  std::atomic<bool> over{false};
  // Sends to, and closes, connections as they come and go.
  std::thread owner([&] {
    std::mt19937 random(7);
    const FramePtr small = Frame::Encode(Opcode::kText, "hello");
    const FramePtr large =
        Frame::Encode(Opcode::kText, std::string(99'000, 'l'));
    while (!over) {
      ListCommand list;
      list.ns = "default";
      list.predicate = Predicate::All();
      list.limit = 100;
      std::promise<std::vector<ConnectionInfoPtr>> found;
      hub_->List(list,
                 [&](auto result) { found.set_value(*std::move(result)); });
      for (const ConnectionInfoPtr& info : found.get_future().get()) {
        std::promise<void> done;
        if (random() % 2 == 0) {
          hub_->Remove(info->id, [&](auto) { done.set_value(); });
        } else {
          hub_->SendTo(
              info->id,
              Outgoing{random() % 2 == 0 ? small : large, absl::OkStatus()},
              [&](auto) { done.set_value(); });
        }
        done.get_future().wait();
      }
    }
  });
  std::vector<std::thread> clients;
  for (uint32_t seed = 0; seed < 4; ++seed) {
    clients.emplace_back([this, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < 250; ++i) Misbehave(port(), random);
    });
  }
  for (std::thread& client : clients) client.join();
  over = true;
  owner.join();
  EXPECT_TRUE(
      WaitFor([&] { return hub_->shards()[0]->caps().sockets() == 0; }));
  for (size_t shard : {0, 1}) {
    // Two turns, so that what was buried is destroyed.
    OnShard([] {}, shard);
    OnShard([] {}, shard);
    EXPECT_EQ(stats(shard).outbox_bytes.value(), 0);
  }
  EXPECT_EQ(WsServer::live_connections(), 0);
  uint64_t opened = 0;
  uint64_t closed = 0;
  for (size_t shard : {0, 1}) {
    opened += Handshakes(101, shard);
    for (const auto& [code, n] : stats(shard).closes.values()) closed += n;
  }
  EXPECT_EQ(opened, closed);
  EXPECT_GT(opened, 500u);
}

}  // namespace
}  // namespace broker::testing
