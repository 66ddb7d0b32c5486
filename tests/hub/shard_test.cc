// One connection's life, over fake sockets: what is promised of binding,
// pending, closing and limits.

#include <string>

#include "broker/core/status.h"
#include "gtest/gtest.h"
#include "tests/fakes/hub_fixture.h"

namespace broker::testing {
namespace {

using Kind = RevocationTarget::Kind;

class ShardTest : public HubFixture {
 protected:
  // A connection whose identity expires then.
  Connected ConnectUntil(absl::Time expires) {
    const Connected c = Connect(0);
    IdentityFields identity = Who("a/s")->fields();
    identity.expires_at = expires;
    BindCommand command;
    command.id = c.id;
    command.identity = Identity::Make(identity);
    EXPECT_TRUE(Await<ConnectionInfoPtr>([&](auto done) {
                  hub_->Bind(command, std::move(done));
                }).ok());
    return c;
  }
};

TEST_F(ShardTest, ATicketAdmitsOnce) {
  Start();
  const std::string ticket = Mint(Who("a/s"));
  HandshakeFacts facts;
  facts.path = "/ws";
  facts.ticket = ticket;
  EXPECT_NE(transports_[0]->Open(*hub_->shards()[0], facts),
            FakeTransport::kRefused);
  EXPECT_EQ(Count(), 1u);
  EXPECT_EQ(transports_[1]->Open(*hub_->shards()[1], facts),
            FakeTransport::kRefused);
  EXPECT_EQ(transports_[1]->last_refusal, 401);
  EXPECT_EQ(Count(), 1u);
}

TEST_F(ShardTest, ATicketExpires) {
  Start();
  HandshakeFacts facts;
  facts.path = "/ws";
  facts.ticket = Mint(Who("a/s"));
  clock_.Advance(absl::Seconds(30));
  EXPECT_EQ(transports_[0]->Open(*hub_->shards()[0], facts),
            FakeTransport::kRefused);
}

TEST_F(ShardTest, AListingHasTheBeginningOfTheQuery) {
  Start();
  HandshakeFacts facts;
  facts.path = "/ws";
  facts.ticket = Mint(Who("a/s"));
  facts.query = std::string(2000, 'x');
  transports_[0]->Open(*hub_->shards()[0], facts);
  EXPECT_EQ(Get({0, 0, transports_[0]->newest})->query.size(), 1024u);
}

TEST_F(ShardTest, ABadTicketNeverFallsBackToPending) {
  Start();
  HandshakeFacts facts;
  facts.path = "/ws";
  facts.ticket = "no such ticket";
  EXPECT_EQ(hub_->shards()[0]->CheckHandshake(facts).http_status, 401);
}

TEST_F(ShardTest, ARefusedOriginLeavesTheTicket) {
  Start();
  HandshakeFacts facts;
  facts.path = "/ws";
  facts.ticket = Mint(Who("a/s"));
  facts.origin = "https://evil.example";
  EXPECT_EQ(hub_->shards()[0]->CheckHandshake(facts).http_status, 403);
  facts.origin.reset();
  EXPECT_EQ(hub_->shards()[0]->CheckHandshake(facts).http_status, 101);
}

TEST_F(ShardTest, PendingIsSeenAndClosedButInert) {
  Start();
  const Connected c = Connect(0);
  EXPECT_EQ(Get(c)->state, ConnectionState::kPending);
  EXPECT_EQ(Count(), 0u);
  EXPECT_EQ(Send("", "x")->matched, 0u);
  EXPECT_EQ(Revoke(ByFilter("endpoint = \"/ws\""))->closed, 1u);
  EXPECT_EQ(SocketOf(c).code, CloseCode::kRevoked);
}

TEST_F(ShardTest, PendingMessagesWaitAndComeInOrder) {
  Start();
  const Connected c = Connect(0);
  Shard& shard = *hub_->shards()[0];
  for (int id = 1; id <= 2; ++id) {
    shard.OnMessage(
        c.slot, Opcode::kText,
        absl::StrCat(R"({"jsonrpc":"2.0","method":"m","id":)", id, "}"));
  }
  EXPECT_TRUE(SocketOf(c).sent.empty());
  ASSERT_TRUE(Bind(c, "a/s").ok());
  ASSERT_EQ(SocketOf(c).sent.size(), 2u);
  EXPECT_NE(SocketOf(c).sent[0].find("\"id\":1"), std::string::npos);
  EXPECT_NE(SocketOf(c).sent[1].find("\"id\":2"), std::string::npos);
  EXPECT_NE(SocketOf(c).sent[1].find("-32601"), std::string::npos);
}

TEST_F(ShardTest, TheFrameOverThePendingLimitCloses1008) {
  Start();
  const Connected c = Connect(0);
  Shard& shard = *hub_->shards()[0];
  for (int i = 0; i < 256; ++i) shard.OnMessage(c.slot, Opcode::kText, "{}");
  EXPECT_FALSE(SocketOf(c).closed);
  shard.OnMessage(c.slot, Opcode::kText, "{}");
  EXPECT_TRUE(SocketOf(c).closed);
  EXPECT_EQ(SocketOf(c).code, CloseCode::kPolicy);
}

TEST_F(ShardTest, ThePendingDeadlineCloses4006) {
  Start();
  const Connected c = Connect(0);
  Pass(absl::Seconds(9));
  EXPECT_FALSE(SocketOf(c).closed);
  Pass(absl::Seconds(2));
  EXPECT_EQ(SocketOf(c).code, CloseCode::kNotAdmitted);
}

TEST_F(ShardTest, BindingIsForLifeAndIdempotent) {
  Start();
  const Connected c = Connect(0);
  ASSERT_TRUE(Bind(c, "a/s").ok());
  EXPECT_EQ(Bind(c, "a/s").value()->version, 1u);
  const auto other = Bind(c, "b/s");
  EXPECT_EQ(GetErrorReason(other.status()).reason, "ALREADY_BOUND");
  EXPECT_EQ(Count("account_id = a"), 1u);
}

TEST_F(ShardTest, HoldBindsAndAdmitAdmits) {
  Start();
  const Connected c = Connect(0);
  const auto admit = [&] {
    return Await<ConnectionInfoPtr>(
        [&](auto done) { hub_->Admit(c.id, std::move(done)); });
  };
  EXPECT_EQ(GetErrorReason(admit().status()).reason, "NOT_BOUND");
  ASSERT_TRUE(Bind(c, "a/s", /*hold=*/true).ok());
  EXPECT_EQ(Count(), 0u);
  ASSERT_TRUE(admit().ok());
  EXPECT_TRUE(admit().ok());
  EXPECT_EQ(Count(), 1u);
}

TEST_F(ShardTest, AHeldConnectionIsRevocable) {
  Start();
  const Connected c = Connect(0);
  ASSERT_TRUE(Bind(c, "a/s", /*hold=*/true).ok());
  EXPECT_EQ(Revoke(ByKey(Kind::kSession, "s"))->closed, 1u);
  EXPECT_EQ(SocketOf(c).code, CloseCode::kRevoked);
  EXPECT_FALSE(Await<ConnectionInfoPtr>([&](auto done) {
                 hub_->Admit(c.id, std::move(done));
               }).ok());
}

TEST_F(ShardTest, AnExpiredIdentityCloses4005) {
  Start();
  const Connected c = ConnectUntil(clock_.Now() + absl::Hours(30));
  for (int hour = 0; hour < 29; ++hour) Pass(absl::Hours(1));
  EXPECT_FALSE(SocketOf(c).closed);
  Pass(absl::Hours(1) + absl::Seconds(1));
  EXPECT_EQ(SocketOf(c).code, CloseCode::kExpired);
}

TEST_F(ShardTest, AnIdentityExpiresWithinAMinuteOfAClockThatIsSet) {
  Start();
  const Connected c = ConnectUntil(clock_.Now() + absl::Hours(30));
  clock_.SetWall(clock_.Now() - absl::Hours(1));
  Pass(absl::Hours(30));
  EXPECT_FALSE(SocketOf(c).closed);
  clock_.SetWall(clock_.Now() + absl::Hours(1));
  Pass(absl::Seconds(61));
  EXPECT_EQ(SocketOf(c).code, CloseCode::kExpired);
}

TEST_F(ShardTest, ASlowConsumerIsDroppedAndClosed4008) {
  Start();
  const Connected fast = Connect(0, "a/s");
  const Connected slow = Connect(0, "b/s");
  SocketOf(slow).next_result = SendResult::kTooSlow;
  const auto tally = Send("", "x", /*include_outcomes=*/true);
  EXPECT_EQ(tally->matched, 2u);
  EXPECT_EQ(tally->queued, 1u);
  EXPECT_EQ(tally->dropped_slow, 1u);
  EXPECT_EQ(SocketOf(slow).code, CloseCode::kSlowConsumer);
  EXPECT_FALSE(SocketOf(fast).closed);
  EXPECT_EQ(Count(), 1u);
}

TEST_F(ShardTest, ClosingIsOutOfCountsAndSendsAndClosedOnce) {
  Start();
  const Connected c = Connect(0, "a/s");
  EXPECT_EQ(CloseAccount("a"), 1u);
  EXPECT_EQ(Count(), 0u);
  EXPECT_EQ(Send("", "x")->matched, 0u);
  EXPECT_EQ(CloseAccount("a"), 0u);
  EXPECT_EQ(Revoke(ByKey(Kind::kSession, "s"))->closed, 0u);
  EXPECT_EQ(Get(c)->state, ConnectionState::kClosing);
  EXPECT_EQ(Get(c)->identity->account_id(), "a");  // readable to the end
  Gone(c);
  EXPECT_EQ(Get(c), nullptr);
}

TEST_F(ShardTest, ALaterRevocationCutsADrain) {
  Start();
  const Connected c = Connect(0, "a/s");
  RevokeCommand drain = ByKey(Kind::kSession, "s");
  drain.drain_for = absl::Seconds(5);
  EXPECT_EQ(Revoke(drain)->closed, 1u);
  EXPECT_EQ(SocketOf(c).drain_for, absl::Seconds(5));
  EXPECT_EQ(CloseAccount("a"), 0u);
  EXPECT_EQ(SocketOf(c).drain_for, absl::ZeroDuration());
  EXPECT_EQ(SocketOf(c).close_calls, 2);
}

TEST_F(ShardTest, NothingFromAClosingClientIsHandled) {
  Start();
  const Connected c = Connect(0, "a/s");
  CloseAccount("a");
  hub_->shards()[0]->OnMessage(c.slot, Opcode::kText,
                               R"({"jsonrpc":"2.0","method":"m","id":1})");
  EXPECT_TRUE(SocketOf(c).sent.empty());
}

TEST_F(ShardTest, BrokenEnvelopesAreAnsweredTwiceThenClose1008) {
  Start();
  const Connected c = Connect(0, "a/s");
  Shard& shard = *hub_->shards()[0];
  shard.OnMessage(c.slot, Opcode::kText, "{");
  shard.OnMessage(c.slot, Opcode::kText, "[]");
  ASSERT_EQ(SocketOf(c).sent.size(), 2u);
  EXPECT_NE(SocketOf(c).sent[0].find("-32700"), std::string::npos);
  EXPECT_NE(SocketOf(c).sent[1].find("-32600"), std::string::npos);
  shard.OnMessage(c.slot, Opcode::kText, "{");
  EXPECT_EQ(SocketOf(c).code, CloseCode::kPolicy);
}

TEST_F(ShardTest, BinaryOnAJsonRpcEndpointCloses1003) {
  Start();
  const Connected c = Connect(0, "a/s");
  hub_->shards()[0]->OnMessage(c.slot, Opcode::kBinary, "x");
  EXPECT_EQ(SocketOf(c).code, CloseCode::kUnsupportedData);
}

TEST_F(ShardTest, TheAccountLimitIs429AtTheHandshakeAnd4004AtBinding) {
  Settings settings = DefaultSettings();
  settings.limits.max_connections_per_account = 1;
  Start(settings);
  const Connected first = Connect(0, "a/s");
  EXPECT_EQ(Connect(1, "a/s2").slot, FakeTransport::kRefused);
  EXPECT_EQ(transports_[1]->last_refusal, 429);
  const Connected pending = Connect(2);
  const auto bound = Bind(pending, "a/s3");
  EXPECT_EQ(bound.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(SocketOf(pending).code, CloseCode::kConnectionLimit);
  CloseAccount("a");  // A closing connection gives its place back.
  clock_.Advance(absl::Milliseconds(1));
  EXPECT_NE(Connect(1, "a/s4").slot, FakeTransport::kRefused);
  (void)first;
}

TEST_F(ShardTest, ThePendingLimitIs503) {
  Settings settings = DefaultSettings();
  settings.limits.max_pending_connections = 1;
  Start(settings);
  const Connected c = Connect(0);
  EXPECT_EQ(Connect(0).slot, FakeTransport::kRefused);
  EXPECT_EQ(transports_[0]->last_refusal, 503);
  ASSERT_TRUE(Bind(c, "a").ok());
  EXPECT_NE(Connect(0).slot, FakeTransport::kRefused);
}

TEST_F(ShardTest, DrainRefusesClosesAndFinishes) {
  Start();
  const Connected c = Connect(0, "a/s");
  bool done = false;
  hub_->Drain(absl::Seconds(1), [&] { done = true; });
  RunAll();
  EXPECT_EQ(SocketOf(c).code, CloseCode::kGoingAway);
  EXPECT_EQ(Connect(1).slot, FakeTransport::kRefused);
  EXPECT_EQ(transports_[1]->last_refusal, 503);
  EXPECT_FALSE(done);
  Gone(c);
  EXPECT_TRUE(done);
}

TEST_F(ShardTest, AHandshakeThatADrainOvertakesOpensTo1001) {
  Start();
  HandshakeFacts facts;
  facts.path = "/ws";
  Shard& shard = *hub_->shards()[0];
  HandshakeAnswer answer = shard.CheckHandshake(facts);
  ASSERT_EQ(answer.http_status, 101);
  hub_->Drain(absl::Seconds(1), [] {});
  RunAll();
  const Slot slot = transports_[0]->Open(shard, std::move(answer.handshake));
  EXPECT_EQ(transports_[0]->sockets.at(slot).code, CloseCode::kGoingAway);
  EXPECT_EQ(transports_[0]->sockets.at(slot).close_calls, 1);
}

TEST_F(ShardTest, ADrainIsSpread) {
  Start();
  std::vector<Connected> all;
  for (int i = 0; i < 100; ++i) all.push_back(Connect(0, absl::StrCat("a", i)));
  hub_->Drain(absl::Seconds(1), [] {});
  RunAll();
  const auto closed = [&] {
    int n = 0;
    for (const Connected& c : all) n += SocketOf(c).closed;
    return n;
  };
  EXPECT_LT(closed(), 20);
  for (int i = 0; i < 30; ++i) Pass(absl::Milliseconds(50));
  EXPECT_EQ(closed(), 100);
}

}  // namespace
}  // namespace broker::testing
