// Who is let in and who has to go, over real sockets: proxies, messages that
// never end, faults.

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class WsDoorsTest : public WsFixture {
 protected:
  int StatusFor(const std::string& forwarded_for) {
    UpgradeRequest request;
    if (!forwarded_for.empty()) {
      request.headers.emplace_back("X-Forwarded-For", forwarded_for);
    }
    clients_.push_back(std::make_unique<WsClient>());
    return clients_.back()->Handshake(port(), request).status;
  }
  // Of the connections that there are, oldest first.
  std::vector<std::string> Addresses() {
    std::promise<std::vector<std::string>> answer;
    ListCommand command;
    command.ns = "default";
    command.predicate = Predicate::All();
    command.states = States::Open();
    command.limit = 100;
    hub_->List(command, [&](auto list) {
      std::vector<std::string> addresses;
      for (const auto& info : *list) addresses.push_back(info->remote_address);
      answer.set_value(std::move(addresses));
    });
    return answer.get_future().get();
  }

  std::vector<std::unique_ptr<WsClient>> clients_;
};

TEST_F(WsDoorsTest, ATrustedProxySaysWhoTheClientIs) {
  settings_.trusted_proxies = {*IpNetwork::Parse("127.0.0.0/8")};
  settings_.limits.max_connections_per_address = 1;
  Start();
  EXPECT_EQ(StatusFor("192.0.2.1"), 101);
  EXPECT_EQ(StatusFor("192.0.2.1"), 429);
  EXPECT_EQ(StatusFor("spoofed, 192.0.2.2"), 101);
  EXPECT_EQ(StatusFor("192.0.2.3, 127.0.0.9"), 101);
  EXPECT_EQ(StatusFor("unknown"), 400);
  EXPECT_EQ(StatusFor(""), 101);
  EXPECT_EQ(StatusFor(""), 429) << "the proxy itself";
  EXPECT_THAT(Addresses(), UnorderedElementsAre("192.0.2.1", "192.0.2.2",
                                                "192.0.2.3", "127.0.0.1"));
  clients_[0]->Disconnect();
  EXPECT_TRUE(WaitFor([&] { return hub_->shards()[0]->caps().sockets() < 5; }));
}

TEST_F(WsDoorsTest, WhoIsNotTrustedMaySayWhatItLikes) {
  settings_.trusted_proxies = {*IpNetwork::Parse("10.0.0.0/8")};
  Start();
  EXPECT_EQ(StatusFor("192.0.2.1"), 101);
  EXPECT_EQ(StatusFor("unknown"), 101);
  EXPECT_THAT(Addresses(), UnorderedElementsAre("127.0.0.1", "127.0.0.1"));
}

// Its client answers pings all the while.
TEST_F(WsDoorsTest, AMessageThatNeverEndsIsNotWaitedFor) {
  settings_.limits.message_timeout = std::chrono::milliseconds(300);
  Start();
  WsClient fragments;
  Admit(fragments, "a1");
  WsClient half_a_frame;
  Admit(half_a_frame, "a2");
  WsClient steady;
  Admit(steady, "a3");
  const std::string whole = WsClient::Encode(WsClient::kText, "0123456789");
  std::string first = whole;
  first[0] = static_cast<char>(first[0] & 0x7f);  // no FIN
  fragments.SendRaw(first);
  half_a_frame.SendRaw(whole.substr(0, whole.size() - 1));
  // Always in the middle of a message, and always of another one: the answer
  // to one says that the next has begun.
  const std::string request = WsClient::Encode(
      WsClient::kText, R"({"jsonrpc":"2.0","method":"m","id":1})");
  std::atomic<bool> done{false};
  std::thread sender([&] {
    steady.SendRaw(request.substr(0, 5));
    while (!done) {
      steady.SendRaw(request.substr(5) + request.substr(0, 5));
      ASSERT_TRUE(steady.Read().has_value());
    }
  });
  EXPECT_EQ(fragments.WaitClosed().code, 1008);
  EXPECT_EQ(half_a_frame.WaitClosed().code, 1008);
  done = true;
  sender.join();
  EXPECT_TRUE(WaitFor([&] {
    return Closes(1008) == 2 && hub_->shards()[0]->caps().sockets() == 1;
  }));
}

// A clock that fails where a connection is at work.
class FaultyClock final : public Clock {
 public:
  absl::Time Now() const override {
    if (faulty) throw std::runtime_error("no time");
    return Clock::System().Now();
  }
  MonotonicTime Monotonic() const override {
    if (faulty) throw std::runtime_error("no time");
    return Clock::System().Monotonic();
  }
  std::atomic<bool> faulty{false};
};

TEST_F(WsDoorsTest, AFaultEndsItsConnectionAndNoOther) {
  static FaultyClock clock;  // The fixture's end needs it.
  clock_ = &clock;
  endpoint().max_messages_per_second = 1'000;
  Start();
  WsClient struck;
  Admit(struck, "a1");
  WsClient other;
  Admit(other, "a2");
  UpgradeRequest with_ticket;
  with_ticket.ticket = Mint("a3");
  OnShard([] {});  // They are open: the 101 comes a moment before.
  clock.faulty = true;
  // In a message, and in a handshake before and after the 101.
  struck.SendRaw(WsClient::Encode(WsClient::kText, "{}"));
  EXPECT_EQ(struck.WaitClosed().code, 1011);
  WsClient asking;
  EXPECT_EQ(asking.Handshake(port(), with_ticket).status, 500);
  WsClient opening;
  EXPECT_EQ(opening.Handshake(port()).status, 101);
  EXPECT_EQ(opening.WaitClosed().code, 1011);
  clock.faulty = false;
  other.SendRaw(WsClient::Encode(WsClient::kText,
                                 R"({"jsonrpc":"2.0","method":"m","id":1})"));
  const auto reply = other.Read();
  ASSERT_TRUE(reply.has_value());
  EXPECT_THAT(reply->payload, HasSubstr("-32601"));
  EXPECT_TRUE(
      WaitFor([&] { return hub_->shards()[0]->caps().sockets() == 1; }));
}

}  // namespace
}  // namespace broker::testing
