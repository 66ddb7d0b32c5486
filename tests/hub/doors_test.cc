// Who is let in and who has to go, over fake sockets: places of accounts and
// namespaces, bad tickets, rates, memory.

#include <map>
#include <random>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tests/fakes/hub_fixture.h"

namespace broker::testing {
namespace {

class DoorsTest : public HubFixture {
 protected:
  void StartEvicting(uint64_t most) {
    Settings settings = DefaultSettings();
    settings.limits.max_connections_per_account = most;
    settings.limits.account_policy = AccountPolicy::kEvictOldest;
    Start(settings);
  }
  HandshakeAnswer Present(const std::string& ticket,
                          const std::string& address = "10.0.0.1") {
    HandshakeFacts facts;
    facts.path = "/ws";
    facts.ticket = ticket;
    facts.remote_address = address;
    return hub_->shards()[0]->CheckHandshake(std::move(facts));
  }
};

TEST_F(DoorsTest, TheOldestOfAFullAccountGoesWhereverItIs) {
  StartEvicting(2);
  const Connected first = Connect(0, "a/1");
  const Connected second = Connect(1, "a/2");
  const Connected other = Connect(0, "b/1");
  const Connected third = Connect(2, "a/3");
  EXPECT_FALSE(SocketOf(first).closed) << "its shard has not heard of it yet";
  RunAll();
  EXPECT_EQ(SocketOf(first).code, CloseCode::kConnectionLimit);
  EXPECT_TRUE(SocketOf(first).closed);
  for (const Connected& c : {second, other, third}) {
    EXPECT_FALSE(SocketOf(c).closed);
  }
  EXPECT_EQ(Count("account_id = \"a\""), 2u);
}

TEST_F(DoorsTest, ABindingEvictsAsAHandshakeDoes) {
  StartEvicting(1);
  const Connected first = Connect(0, "a/1");
  const Connected second = Connect(1);
  EXPECT_TRUE(Bind(second, "a/2").ok());
  EXPECT_TRUE(SocketOf(first).closed);
  EXPECT_FALSE(SocketOf(second).closed);
}

TEST_F(DoorsTest, OneThatIsEvictedBeforeItIsOpenIsClosedWhenItOpens) {
  StartEvicting(1);
  HandshakeAnswer early = Present(Mint(Who("a/1")));
  ASSERT_EQ(early.http_status, 101);
  const Connected later = Connect(1, "a/2");
  RunAll();
  const Slot slot =
      transports_[0]->Open(*hub_->shards()[0], std::move(early.handshake));
  EXPECT_TRUE(transports_[0]->sockets.at(slot).closed);
  EXPECT_EQ(transports_[0]->sockets.at(slot).code, CloseCode::kConnectionLimit);
  EXPECT_FALSE(SocketOf(later).closed);
}

// Whatever comes before what: when all is quiet, the newest of each account are
// open, as many as may be, and nobody was closed who need not have been.
TEST_F(DoorsTest, EvictionsAgreeWithTheModelInEveryOrder) {
  constexpr size_t kMost = 2;
  StartEvicting(kMost);
  std::mt19937 random(1);
  std::map<std::string, std::vector<Connected>> model;  // open, oldest first
  std::vector<Connected> closed;
  for (int step = 0; step < 5'000; ++step) {
    const size_t shard = random() % kShards;
    const std::string account(1, static_cast<char>('a' + random() % 3));
    std::vector<Connected>& open = model[account];
    switch (random() % 6) {
      case 0:
      case 1:
        open.push_back(Connect(shard, account + "/s"));
        ASSERT_NE(open.back().slot, FakeTransport::kRefused);
        break;
      case 2:
        if (!open.empty() && !SocketOf(open.back()).closed) {
          Gone(open.back());
          open.pop_back();
        }
        break;
      case 3:
        RunAll();
        break;
      default:
        transports_[shard]->RunOne();
    }
    while (open.size() > kMost) {
      closed.push_back(open.front());
      open.erase(open.begin());
    }
    if (step % 50 != 49) continue;
    RunAll();
    for (const auto& [name, connections] : model) {
      for (const Connected& c : connections) {
        ASSERT_FALSE(SocketOf(c).closed) << name << " at step " << step;
      }
    }
    for (const Connected& c : closed) {
      ASSERT_EQ(SocketOf(c).code, CloseCode::kConnectionLimit);
      ASSERT_TRUE(SocketOf(c).closed) << "at step " << step;
      Gone(c);
    }
    closed.clear();
  }
}

TEST_F(DoorsTest, ANamespaceHasItsPlacesPendingOnesToo) {
  Settings settings = DefaultSettings();
  settings.endpoints.push_back(settings.endpoints[0]);
  settings.endpoints[1].path = "/other";
  settings.endpoints[1].ns = "other";
  settings.limits.max_connections_per_namespace = 2;
  Start(settings);
  Connect(0);
  Connect(1, "a/1");
  const std::string ticket = Mint(Who("a/2"));
  EXPECT_EQ(Present(ticket).http_status, 503);
  EXPECT_EQ(Present(ticket).retry_after_seconds, 5);
  EXPECT_NE(Connect(0, "", "/other").slot, FakeTransport::kRefused);
  EXPECT_EQ(Revoke(ByFilter("endpoint = \"/ws\" AND NOT account_id:*"))->closed,
            1u);
  EXPECT_EQ(Present(ticket).http_status, 101)
      << "one that is closing has no place, and the ticket was not used up";
}

TEST_F(DoorsTest, WhoPresentsTooManyBadTicketsWaits) {
  Settings settings = DefaultSettings();
  settings.limits.max_ticket_misses_per_minute = 3;
  Start(settings);
  const std::string good = Mint(Who("a/1"));
  const std::string used = Mint(Who("a/2"));
  EXPECT_EQ(Present(used).http_status, 101);
  const HandshakeAnswer first = Present(used);
  const HandshakeAnswer second = Present("unknown");
  const std::string revoked = Mint(Who("b/1"));
  CloseAccount("b");
  const HandshakeAnswer third = Present(revoked);
  for (const HandshakeAnswer* answer : {&first, &second, &third}) {
    EXPECT_EQ(answer->http_status, 401);
    EXPECT_EQ(answer->body, first.body);
    EXPECT_EQ(answer->retry_after_seconds, 0);
  }
  const HandshakeAnswer wait = Present("unknown");
  EXPECT_EQ(wait.http_status, 429);
  EXPECT_EQ(wait.retry_after_seconds, 20);
  EXPECT_EQ(Present(good).http_status, 429);
  EXPECT_EQ(Present("unknown", "10.0.0.2").http_status, 401);
  EXPECT_NE(Connect(0).slot, FakeTransport::kRefused)
      << "without a ticket there is nothing to guess";
  clock_.Advance(absl::Seconds(20));
  EXPECT_EQ(Present(good).http_status, 101) << "it was not used up";
}

TEST_F(DoorsTest, WhoSendsTooMuchIsClosed) {
  Settings settings = DefaultSettings();
  settings.endpoints[0].max_messages_per_second = 3;
  Start(settings);
  Shard& shard = *hub_->shards()[0];
  const std::string request = R"({"jsonrpc":"2.0","method":"m","id":1})";
  const Connected c = Connect(0, "a/1");
  for (int i = 0; i < 3; ++i) shard.OnMessage(c.slot, Opcode::kText, request);
  EXPECT_FALSE(SocketOf(c).closed);
  clock_.Advance(absl::Seconds(1));
  for (int i = 0; i < 4; ++i) shard.OnMessage(c.slot, Opcode::kText, request);
  EXPECT_EQ(SocketOf(c).code, CloseCode::kRateLimited);
  EXPECT_EQ(SocketOf(c).sent.size(), 6u) << "the last got no answer";

  const Connected pending = Connect(0);
  for (int i = 0; i < 4; ++i) {
    shard.OnMessage(pending.slot, Opcode::kText, request);
  }
  EXPECT_EQ(SocketOf(pending).code, CloseCode::kRateLimited);
}

TEST_F(DoorsTest, BytesHaveARateAndOneWholeMessageAlwaysFits) {
  Settings settings = DefaultSettings();
  settings.endpoints[0].framing = Framing::kRaw;
  settings.endpoints[0].max_message_bytes = 1'000;
  settings.endpoints[0].max_bytes_per_second = 100;
  Start(settings);
  Shard& shard = *hub_->shards()[0];
  const Connected c = Connect(0);  // pending: its messages wait
  shard.OnMessage(c.slot, Opcode::kBinary, std::string(1'000, 'x'));
  EXPECT_FALSE(SocketOf(c).closed);
  clock_.Advance(absl::Milliseconds(500));
  shard.OnMessage(c.slot, Opcode::kBinary, std::string(50, 'x'));
  EXPECT_FALSE(SocketOf(c).closed);
  shard.OnMessage(c.slot, Opcode::kBinary, "x");
  EXPECT_EQ(SocketOf(c).code, CloseCode::kRateLimited);
}

TEST_F(DoorsTest, ShortOfMemoryNobodyIsLetIn) {
  Start();
  const std::string ticket = Mint(Who("a/1"));
  for (const MemoryLevel level : {MemoryLevel::kSoft, MemoryLevel::kHard}) {
    hub_->SetMemory({level, 90, 100});
    const HandshakeAnswer answer = Present(ticket);
    EXPECT_EQ(answer.http_status, 503);
    EXPECT_EQ(answer.retry_after_seconds, 5);
  }
  hub_->SetMemory({MemoryLevel::kNormal, 10, 100});
  EXPECT_EQ(Present(ticket).http_status, 101);
}

TEST_F(DoorsTest, TheLargestOutboxesAreShedOverAllShardsAndNoMoreThanNeeded) {
  Start();
  std::vector<Connected> connections;
  for (const uint64_t bytes : {0, 500, 10, 300, 400, 20}) {
    connections.push_back(
        Connect(connections.size() % kShards, bytes == 500 ? "" : "a/1"));
    SocketOf(connections.back()).outbox = {bytes, bytes};
  }
  const auto shed = [&](uint64_t bytes) {
    return *Await<uint64_t>(
        [&](auto done) { hub_->Shed(bytes, std::move(done)); });
  };
  EXPECT_EQ(shed(0), 0u);
  EXPECT_EQ(shed(501), 2u);
  std::set<size_t> closed;
  for (size_t i = 0; i < connections.size(); ++i) {
    if (!SocketOf(connections[i]).closed) continue;
    EXPECT_EQ(SocketOf(connections[i]).code, CloseCode::kTryAgainLater);
    closed.insert(i);
  }
  EXPECT_EQ(closed, (std::set<size_t>{1, 4})) << "500 and 400";
  EXPECT_EQ(shed(1'000), 3u) << "who keeps up is never shed";
  EXPECT_FALSE(SocketOf(connections[0]).closed);
  EXPECT_EQ(shed(1'000), 0u);
}

}  // namespace
}  // namespace broker::testing
