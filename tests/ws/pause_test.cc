// A client that is not read from, over real sockets.

#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

class PauseTest : public WsFixture {
 protected:
  void SetUp() override {
    endpoint().framing = Framing::kRaw;
    endpoint().max_message_bytes = 64 * 1024;
    settings_.limits.ping_interval = {};
  }

  AttachFeedPtr Attach() {
    AttachSpec spec;
    spec.ns = "default";
    spec.messages.emplace();
    spec.messages->methods = {"*"};
    spec.messages->sticky = MessageSpec::Sticky::kConnection;
    auto feed = std::make_shared<AttachFeed>(std::move(spec));
    hub_->Attach(feed, 0);
    EXPECT_EQ(Next(feed)->kind, AttachFeed::Item::Kind::kStarted);
    return feed;
  }
  static std::optional<AttachFeed::Item> Next(const AttachFeedPtr& feed) {
    std::promise<std::optional<AttachFeed::Item>> next;
    feed->NotifyWhenReady([&] { next.set_value(feed->TakeNext().item); });
    return next.get_future().get();
  }
  void Leave(const AttachFeedPtr& feed) {
    feed->Cancel();
    hub_->Detach(feed);
  }
  static std::string Numbered(int number) {
    return NumberedPayload(number, 16 * 1024);
  }
  // More than the window, and less than the kernel takes.
  static constexpr int kSome = 20;
  void SendSome(WsClient& client) {
    for (int i = 0; i < kSome; ++i) {
      ASSERT_TRUE(client.SendBinary(Numbered(i)));
    }
    ASSERT_TRUE(WaitFor([&] { return stats().messages_in.value() >= 4; }));
  }
};

TEST_F(PauseTest, WhatIsNotTakenStaysWithTheClientAndNothingIsLost) {
  // A window of four messages, and what one read of the socket may bring.
  constexpr uint64_t kWindow = 4;
  constexpr uint64_t kRead = 64 / 16 + 1;
  constexpr int kMany = 2'000;  // 32 MB
  Start();
  const AttachFeedPtr feed = Attach();
  WsClient client;
  Admit(client);
  std::thread writer([&] {
    for (int i = 0; i < kMany; ++i) {
      ASSERT_TRUE(client.SendBinary(Numbered(i)));
    }
  });
  for (uint64_t i = 0; i < kMany; ++i) {
    feed->AddMessageCredit(1);
    const auto item = Next(feed);
    ASSERT_TRUE(item && item->kind == AttachFeed::Item::Kind::kMessage);
    EXPECT_LE(stats().messages_in.value(), i + 1 + kWindow + kRead);
    EXPECT_EQ(item->message->sequence, i + 1);
    ASSERT_EQ(item->message->payload, Numbered(static_cast<int>(i)));
  }
  writer.join();
  Leave(feed);
}

TEST_F(PauseTest, ARevocationEndsWhoIsNotReadFrom) {
  Start();
  const AttachFeedPtr feed = Attach();
  WsClient client;
  Admit(client, "a1");
  SendSome(client);
  RevokeCommand command;
  command.target.kind = RevocationTarget::Kind::kAccount;
  command.target.key = "a1";
  std::promise<uint64_t> closed;
  hub_->Revoke(std::move(command),
               [&](const auto& result) { closed.set_value(result->closed); });
  EXPECT_EQ(closed.get_future().get(), 1u);
  feed->AddMessageCredit(AttachFeed::kMaxCredit);
  EXPECT_FALSE(feed->TakeNext().item);
  EXPECT_EQ(client.WaitClosed().code, 4001);
  Leave(feed);
}

TEST_F(PauseTest, WhatTimeItIsNotReadFromIsNotHeldAgainstIt) {
  settings_.limits.ping_interval = std::chrono::milliseconds(100);
  settings_.limits.pong_timeout = std::chrono::milliseconds(100);
  settings_.limits.message_timeout = std::chrono::milliseconds(200);
  Start();
  const AttachFeedPtr feed = Attach();
  WsClient client;
  Admit(client);
  SendSome(client);
  // Longer than all of these together: in that time others are given up.
  for (int i = 0; i < 3; ++i) {
    WsClient silent;
    Admit(silent, absl::StrCat("silent", i));
    EXPECT_EQ(silent.WaitClosed().code, 4003);
  }
  feed->AddMessageCredit(AttachFeed::kMaxCredit);
  for (int i = 0; i < kSome; ++i) {
    const auto item = Next(feed);
    ASSERT_TRUE(item && item->kind == AttachFeed::Item::Kind::kMessage) << i;
  }
  Leave(feed);
}

TEST_F(PauseTest, WhoHangsUpMeanwhileIsGone) {
  settings_.limits.ping_interval = std::chrono::milliseconds(100);
  Start();
  const AttachFeedPtr feed = Attach();
  WsClient client;
  Admit(client);
  SendSome(client);
  client.Reset();
  EXPECT_TRUE(WaitFor([&] { return Closes(1006) == 1; }));
  Leave(feed);
}

}  // namespace
}  // namespace broker::testing
