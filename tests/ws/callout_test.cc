// Handshakes that wait for somebody else's answer.

#include <string>

#include "absl/strings/str_cat.h"
#include "broker/ws/engine.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_callout.h"
#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

class CalloutTest : public WsFixture {
 protected:
  CalloutTest() {
    endpoint().allow_pending = false;
    endpoint().allow_callout = true;
  }
  void Begin() { Start(1, "127.0.0.1", &callout_); }
  // Sends a request with what follows it, and has the broker ask.
  FakeCallout::Question Knock(WsClient& client, const std::string& more = "") {
    EXPECT_TRUE(client.Connect(port()));
    client.SendRaw(UpgradeRequest().Encode() + more);
    FakeCallout::Question question = callout_.Next();
    // The task that asked is over.
    OnShard([] {});
    return question;
  }
  uint64_t Sockets() { return hub_->shards()[0]->caps().sockets(); }
  uint64_t MessagesIn() { return stats().messages_in.value(); }

  FakeCallout callout_;
};

TEST_F(CalloutTest, TheAnswerOpens) {
  Begin();
  WsClient client;
  FakeCallout::Question question = Knock(client);
  EXPECT_EQ(question.facts.path, "/ws");
  EXPECT_EQ(question.facts.remote_address, "127.0.0.1");
  EXPECT_EQ(question.epoch, hub_->epoch());
  EXPECT_EQ(Engine::live_connections(), 0) << "websocketpp knows already";
  EXPECT_EQ(Handshakes(101), 0u);
  question.Admit("a1");
  EXPECT_EQ(client.ReadResponse().status, 101);
  EXPECT_EQ(Send(0, Numbered(0, 10)), SendResult::kQueued);
  EXPECT_EQ(client.Read()->payload, NumberedPayload(0, 10));
}

TEST_F(CalloutTest, ARefusalIsAnHttpStatus) {
  Begin();
  WsClient client;
  Knock(client).Refuse(403, "your subscription has ended");
  const HttpResponse response = client.ReadResponse();
  EXPECT_EQ(response.status, 403);
  EXPECT_EQ(response.body, "your subscription has ended\n");
  EXPECT_EQ(client.WaitClosed().how, WsEnd::How::kEof);
  EXPECT_EQ(Handshakes(403), 1u);
}

TEST_F(CalloutTest, ATicketAsksNobody) {
  Begin();
  WsClient client;
  Admit(client);
  EXPECT_TRUE(WaitFor([&] { return Handshakes(101) == 1; }));
}

TEST_F(CalloutTest, WhatComesBehindTheHeadWaitsItsTurn) {
  Begin();
  WsClient client;
  const auto request = [](int i) {
    return WsClient::Encode(
        WsClient::kText,
        absl::StrCat(R"({"jsonrpc":"2.0","method":"m","params":[)", i, "]}"));
  };
  FakeCallout::Question question = Knock(client, request(0) + request(1));
  client.SendRaw(request(2));
  OnShard([] {});
  EXPECT_EQ(MessagesIn(), 0u);
  question.Admit("a1");
  EXPECT_EQ(client.ReadResponse().status, 101);
  EXPECT_TRUE(WaitFor([&] { return MessagesIn() == 3; }));
  // The parser is in step.
  client.SendFrame(WsClient::kPing, "still here");
  EXPECT_EQ(client.Read()->payload, "still here");
}

TEST_F(CalloutTest, WhatComesMeanwhileIsNotRead) {
  Begin();
  WsClient client;
  FakeCallout::Question question = Knock(client);
  const uint64_t before = stats().bytes_in.value();
  for (int i = 0; i < 100; ++i) client.SendBinary(std::string(1'000, 'x'));
  OnShard([] {});
  EXPECT_EQ(stats().bytes_in.value(), before);
  question.Admit("a1");
  EXPECT_EQ(client.ReadResponse().status, 101);
  EXPECT_TRUE(
      WaitFor([&] { return stats().bytes_in.value() > before + 100'000; }));
}

TEST_F(CalloutTest, WhoLeavesIsForgotten) {
  settings_.limits.max_connections_per_account = 1;
  Begin();
  WsClient client, second;
  FakeCallout::Question question = Knock(client);
  client.Disconnect();
  EXPECT_TRUE(WaitFor([&] { return Sockets() == 0; }));
  EXPECT_EQ(Handshakes(499), 1u);
  question.Admit("a1");
  // Nor is a place of the account lost.
  Knock(second).Admit("a1");
  EXPECT_EQ(second.ReadResponse().status, 101);
}

TEST_F(CalloutTest, TheTimeoutGoesOn) {
  settings_.limits.handshake_timeout = std::chrono::milliseconds(200);
  Begin();
  WsClient client;
  FakeCallout::Question question = Knock(client);
  const HttpResponse response = client.ReadResponse();
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "the handshake took too long\n");
  EXPECT_EQ(stats().handshake_timeouts.value(), 1u);
  question.Admit("a1");
  EXPECT_EQ(client.WaitClosed().how, WsEnd::How::kEof);
  EXPECT_EQ(Handshakes(101), 0u);
}

TEST_F(CalloutTest, ADroppedQuestionEndsWithTheTimeout) {
  settings_.limits.handshake_timeout = std::chrono::milliseconds(200);
  Begin();
  WsClient client;
  Knock(client);
  EXPECT_EQ(client.ReadResponse().status, 503);
}

// The credential was verified before the revocation, for all that is known.
TEST_F(CalloutTest, ARevocationMeanwhileWins) {
  Begin();
  WsClient client, again;
  FakeCallout::Question question = Knock(client);
  std::promise<void> revoked;
  RevokeCommand command;
  command.target.kind = RevocationTarget::Kind::kAccount;
  command.target.key = "a1";
  hub_->Revoke(std::move(command), [&](const auto& result) {
    EXPECT_TRUE(result.ok());
    revoked.set_value();
  });
  revoked.get_future().wait();
  question.Admit("a1");
  EXPECT_EQ(client.ReadResponse().status, 401);
  Knock(again).Admit("a1");
  EXPECT_EQ(again.ReadResponse().status, 101);
}

TEST_F(CalloutTest, ADrainMeanwhileRefuses) {
  Begin();
  WsClient client;
  FakeCallout::Question question = Knock(client);
  std::promise<void> drained;
  hub_->Drain(absl::ZeroDuration(), [&] { drained.set_value(); });
  drained.get_future().wait();
  question.Admit("a1");
  EXPECT_EQ(client.ReadResponse().status, 503);
}

TEST_F(CalloutTest, NobodyIsLeftBehindAtTheEnd) {
  Begin();
  std::vector<std::unique_ptr<WsClient>> clients;
  std::vector<FakeCallout::Question> questions;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<WsClient>());
    questions.push_back(Knock(*clients.back()));
  }
  server_->Stop();
  for (auto& question : questions) question.Admit("a1");
  for (auto& client : clients) {
    EXPECT_NE(client->WaitClosed().how, WsEnd::How::kTimeout);
  }
}

}  // namespace
}  // namespace broker::testing
