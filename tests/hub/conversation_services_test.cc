// Which service gets what clients say, in which order, and what happens when it
// leaves.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/hub/conversation_fixture.h"

namespace broker::testing {
namespace {

using Kind = AttachFeed::Item::Kind;
using Sticky = MessageSpec::Sticky;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// ---- services that leave ----------------------------------------------------

TEST_F(ConversationTest, WhatWaitedGoesToAnother) {
  const auto one = Attach(Taking({"*"}), 0);
  const auto c = Connect(0, "a1");
  Request(c, "1", "m");
  Notify(c, "n");
  const auto two = Attach(Taking({"*"}), 10);
  Leave(one);
  EXPECT_THAT(Told(two), ElementsAre("m []", "n []"));
  EXPECT_THAT(Heard(c), IsEmpty());
}

TEST_F(ConversationTest, WhatWasGivenIsAnErrorOrGoesToAnother) {
  for (const bool idempotent : {false, true}) {
    MessageSpec spec = Taking({"*"});
    spec.idempotent = idempotent;
    const auto one = Attach(spec, 10);
    const auto c = Connect(0, "a1");
    Request(c, "1", "m");
    EXPECT_THAT(Told(one), SizeIs(1));
    const auto two = Attach(spec, 1);
    Leave(one);
    if (idempotent) {
      EXPECT_THAT(Told(two), ElementsAre("m []"));
      EXPECT_EQ(last_->sequence, 1);
      Reply(two, "1");
      EXPECT_THAT(Heard(c), ElementsAre(HasSubstr("\"result\":1")));
    } else {
      EXPECT_THAT(Told(two), IsEmpty());
      EXPECT_THAT(Heard(c), ElementsAre(HasSubstr("-32001")));
    }
    Leave(two);
  }
}

TEST_F(ConversationTest, AClientTooSlowToHearOfItIsClosedOnce) {
  const auto feed = Attach(Taking({"*"}), 10);
  const auto slow = Connect(0, "a1");
  const auto other = Connect(0, "a2");
  for (const char* id : {"1", "2", "3", "4"}) Request(slow, id, "m");
  Request(other, "1", "m");
  EXPECT_THAT(Told(feed), SizeIs(5));
  SocketOf(slow).next_result = SendResult::kTooSlow;
  Leave(feed);
  EXPECT_EQ(SocketOf(slow).code, CloseCode::kSlowConsumer);
  EXPECT_THAT(Heard(other), ElementsAre(HasSubstr("-32001")));
}

TEST_F(ConversationTest, AClientTooSlowToHearOfItsCancelIsClosedOnce) {
  const auto feed = Attach(Taking({"*"}), 10);
  const auto slow = Connect(0, "a1");
  for (int i = 0; i < 2; ++i) Request(slow, "7", "m");
  EXPECT_THAT(Told(feed), SizeIs(2));
  SocketOf(slow).next_result = SendResult::kTooSlow;
  Notify(slow, "cancel", R"({"request_id":7})");
  EXPECT_EQ(SocketOf(slow).code, CloseCode::kSlowConsumer);
  EXPECT_THAT(Told(feed), ElementsAre("cancelled 0", "cancelled 1"));
}

TEST_F(ConversationTest, WhatNobodyTakesOverIsUnavailable) {
  const auto feed = Attach(Taking({"*"}), 0);
  const auto c = Connect(0, "a1");
  Request(c, "1", "m");
  Leave(feed);
  EXPECT_THAT(Heard(c), ElementsAre(HasSubstr("-32000")));
}

TEST_F(ConversationTest, ADrainLetsItReplyToWhatItHas) {
  const auto one = Attach(Taking({"*"}), 1);
  const auto two = Attach(Taking({"*"}), 0);
  const auto c = Connect(0, "a1");
  Request(c, "1", "m");
  Request(c, "2", "m");
  EXPECT_THAT(Told(one), SizeIs(1));
  hub_->DrainService(one);
  RunAll();
  Request(c, "3", "m");
  EXPECT_THAT(Told(one), IsEmpty());
  two->AddMessageCredit(10);
  const uint64_t first = last_->id;
  EXPECT_THAT(Told(two), SizeIs(2));
  ReplyTo(one, first, "1", /*report=*/5);
  EXPECT_THAT(Heard(c), ElementsAre(HasSubstr("\"result\":1")));
  EXPECT_THAT(Told(one), ElementsAre("report 5 0", "end"));
}

TEST_F(ConversationTest, ADrainWaitsForWhatIsUnderWay) {
  const auto feed = Attach(Taking({"*"}), 10);
  feed->BeginCommand();
  hub_->DrainService(feed);
  RunAll();
  EXPECT_THAT(Told(feed), IsEmpty());
  feed->EndCommand(7, SendOutcome::kQueued);
  EXPECT_THAT(Told(feed), ElementsAre("report 7 0", "end"));
}

TEST_F(ConversationTest, AServiceThatReadsNoReportsIsNotListenedTo) {
  constexpr size_t kMost = AttachFeed::kMaxCommands;
  const auto feed = Attach(Taking({"*"}), 10);
  for (size_t i = 1; i < kMost; ++i) {
    feed->BeginCommand();
    EXPECT_TRUE(feed->MayListen());
  }
  feed->BeginCommand();
  EXPECT_FALSE(feed->MayListen());
  // Done, but not read.
  for (size_t i = 1; i <= kMost; ++i) {
    feed->EndCommand(i, SendOutcome::kQueued);
  }
  for (size_t i = 1; i <= kMost / 2; ++i) {
    const AttachFeed::Next next = feed->TakeNext();
    ASSERT_TRUE(next.item);
    EXPECT_EQ(next.item->number, i);
    EXPECT_FALSE(next.listen);
  }
  EXPECT_TRUE(feed->TakeNext().listen);
  EXPECT_THAT(Told(feed), SizeIs(kMost / 2));
  EXPECT_TRUE(feed->MayListen());
}

TEST_F(ConversationTest, SendsWithoutReportsAreUnderWayToo) {
  const auto feed = Attach(Taking({"*"}), 10);
  for (size_t i = 0; i < AttachFeed::kMaxCommands; ++i) feed->BeginCommand();
  EXPECT_FALSE(feed->MayListen());
  bool ready = false;
  feed->NotifyWhenReady([&] { ready = true; });
  for (size_t i = 0; i < AttachFeed::kMaxCommands / 2; ++i) {
    EXPECT_FALSE(ready);
    feed->EndCommand(0, SendOutcome::kGone);
  }
  EXPECT_TRUE(ready);
  EXPECT_TRUE(feed->TakeNext().listen);
}

TEST_F(ConversationTest, ADrainWithNothingOpenIsOver) {
  const auto feed = Attach(Taking({"*"}), 1);
  hub_->DrainService(feed);
  EXPECT_THAT(Told(feed), ElementsAre("end"));
}

// ---- stickiness and order ---------------------------------------------------

TEST_F(ConversationTest, AConnectionStaysWithItsService) {
  MessageSpec spec = Taking({"*"});
  spec.sticky = Sticky::kConnection;
  const auto one = Attach(spec, 100);
  const auto c = Connect(0, "a1");
  Notify(c, "first");
  EXPECT_THAT(Told(one), SizeIs(1));
  const auto two = Attach(spec, 1000);
  Notify(c, "second");
  EXPECT_THAT(Told(one), SizeIs(1));
  Leave(one);
  Notify(c, "third");
  EXPECT_THAT(Told(two), ElementsAre("third []"));
}

TEST_F(ConversationTest, AnAccountStaysWithItsServiceOnEveryShard) {
  MessageSpec spec = Taking({"*"});
  spec.sticky = Sticky::kAccount;
  std::vector<AttachFeedPtr> feeds;
  for (int i = 0; i < 3; ++i) feeds.push_back(Attach(spec, 1000));
  std::vector<size_t> shares(feeds.size());
  for (int account = 0; account < 60; ++account) {
    for (size_t shard = 0; shard < kShards; ++shard) {
      Notify(Connect(shard, absl::StrCat("a", account)), "m");
    }
    size_t with = 0;
    for (size_t i = 0; i < feeds.size(); ++i) {
      const size_t told = Told(feeds[i]).size();
      shares[i] += told;
      with += told > 0;
    }
    EXPECT_EQ(with, 1) << account;
  }
  for (const size_t share : shares) EXPECT_GT(share, 0);
}

TEST_F(ConversationTest, AStrictOrderIsOneRequestAtATime) {
  Settings settings = DefaultSettings();
  settings.endpoints[0].message_order = MessageOrder::kStrict;
  Start(settings);
  const auto feed = Attach(Taking({"*"}), 100);
  const auto c = Connect(0, "a1");
  Request(c, "1", "one");
  Notify(c, "two");
  Request(c, "3", "three");
  Request(c, "4", "four");
  EXPECT_THAT(Told(feed), ElementsAre("one []"));
  Reply(feed, "1");
  EXPECT_THAT(Told(feed), ElementsAre("two []", "three []"));
  Notify(c, "cancel", R"({"request_id":4})");
  Notify(c, "five");
  Reply(feed, "1");
  EXPECT_THAT(Told(feed), ElementsAre("five []"));
  EXPECT_THAT(Heard(c), ElementsAre(HasSubstr(R"("id":1,"result")"),
                                    HasSubstr(R"("id":4,"error")"),
                                    HasSubstr(R"("id":3,"result")")));
}

TEST_F(ConversationTest, AnEventComesBeforeTheMessagesAfterIt) {
  const auto feed = Attach(Taking({"*"}), 100, /*events=*/true);
  const auto c = Connect(0, "a1");
  Notify(c, "m");
  EXPECT_THAT(Told(feed), IsEmpty());
  feed->AddEventCredit(1);
  EXPECT_THAT(Told(feed), ElementsAre("event", "m []"));
}

TEST_F(ConversationTest, WhatWasSentBeforeAdmissionComesInOrder) {
  const auto feed = Attach(Taking({"*"}), 100, /*events=*/true);
  const auto c = Connect(0);
  Notify(c, "one");
  Notify(c, "two");
  EXPECT_THAT(Told(feed), IsEmpty());
  ASSERT_TRUE(Bind(c, "a1").ok());
  feed->AddEventCredit(1);
  EXPECT_THAT(Told(feed), ElementsAre("event", "one []", "two []"));
}

TEST_F(ConversationTest, AClientWhoSaysMoreThanIsTakenIsNotReadFrom) {
  const auto feed = Attach(Taking({"*"}), 0);
  const auto c = Connect(0, "a1");
  for (int i = 0; i < 63; ++i) Notify(c, "m");
  EXPECT_TRUE(SocketOf(c).reading);
  Notify(c, "m");
  EXPECT_FALSE(SocketOf(c).reading);
  feed->AddMessageCredit(31);
  EXPECT_THAT(Told(feed), SizeIs(31));
  RunAll();
  EXPECT_FALSE(SocketOf(c).reading);
  feed->AddMessageCredit(1);
  EXPECT_THAT(Told(feed), SizeIs(1));
  RunAll();
  EXPECT_TRUE(SocketOf(c).reading);
}

TEST_F(ConversationTest, ATraceContextIsOfTheMessageOrElseOfTheHandshake) {
  const std::string one =
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const std::string two =
      "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
  const auto feed = Attach(Taking({"*"}), 10);
  HandshakeFacts facts;
  facts.path = "/ws";
  facts.ticket = Mint(Who("a1"));
  facts.headers = {{"traceparent", one}};
  Connected c{0, transports_[0]->Open(*hub_->shards()[0], facts),
              transports_[0]->newest};
  Notify(c, "m");
  Told(feed);
  EXPECT_EQ(last_->traceparent, one);
  Say(c, absl::StrCat(R"({"jsonrpc":"2.0","method":"m","traceparent":")", two,
                      R"("})"));
  Told(feed);
  EXPECT_EQ(last_->traceparent, two);
}

// ---- RAW --------------------------------------------------------------------

class RawConversationTest : public ConversationTest {
 protected:
  void SetUp() override {
    Settings settings = DefaultSettings();
    settings.endpoints[0].framing = Framing::kRaw;
    Start(settings);
  }
  static MessageSpec All() {
    MessageSpec spec = Taking({"*"});
    spec.sticky = Sticky::kConnection;
    return spec;
  }
};

TEST_F(RawConversationTest, BytesReachAService) {
  const auto feed = Attach(All(), 10);
  const auto c = Connect(0, "a1");
  const std::string bytes("\0\xff{", 3);
  Say(c, bytes, Opcode::kBinary);
  Told(feed);
  EXPECT_EQ(last_->payload, bytes);
  EXPECT_EQ(last_->kind, ClientMessage::Kind::kBinary);
  Say(c, "");
  Told(feed);
  EXPECT_EQ(last_->kind, ClientMessage::Kind::kText);
  EXPECT_EQ(last_->sequence, 2);
}

TEST_F(RawConversationTest, WithoutAServiceOrWithoutItsOwnItIsClosed) {
  const auto lonely = Connect(0, "a1");
  Say(lonely, "x");
  EXPECT_EQ(SocketOf(lonely).code, CloseCode::kTryAgainLater);
  const auto one = Attach(All(), 10);
  const auto begun = Connect(0, "a1");
  Say(begun, "x");
  const auto fresh = Connect(0, "a1");
  const auto two = Attach(All(), 10);
  Leave(one);
  EXPECT_EQ(SocketOf(begun).code, CloseCode::kTryAgainLater);
  EXPECT_FALSE(SocketOf(fresh).closed);
  Say(fresh, "y");
  EXPECT_THAT(Told(two), ElementsAre(" y"));
}

}  // namespace
}  // namespace broker::testing
