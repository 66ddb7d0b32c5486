// What clients say to services, and services to clients, over fake sockets.

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/hub_fixture.h"

namespace broker::testing {
namespace {

using Kind = AttachFeed::Item::Kind;
using Sticky = MessageSpec::Sticky;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ConversationTest : public HubFixture {
 protected:
  void SetUp() override { Start(); }
  // Who still waits for an outcome is told now, into what is ours.
  void TearDown() override { hub_.reset(); }

  static MessageSpec Taking(std::vector<std::string> methods) {
    MessageSpec spec;
    spec.methods = std::move(methods);
    return spec;
  }
  AttachFeedPtr Attach(MessageSpec messages, uint64_t credit,
                       bool events = false) {
    AttachSpec spec;
    spec.ns = "default";
    spec.messages = std::move(messages);
    if (events) spec.events = Predicate::All();
    auto feed = std::make_shared<AttachFeed>(std::move(spec));
    feed->AddMessageCredit(credit);
    hub_->Attach(feed, 0);
    RunAll();
    EXPECT_EQ(feed->TakeNext().item->kind, Kind::kStarted);
    return feed;
  }
  void Leave(const AttachFeedPtr& feed) {
    feed->Cancel();
    hub_->Detach(feed);
    RunAll();
  }

  // What a feed has to tell: "method params", "cancelled", "report outcome".
  std::vector<std::string> Told(const AttachFeedPtr& feed) {
    std::vector<std::string> told;
    for (;;) {
      const AttachFeed::Next next = feed->TakeNext();
      if (next.end) told.push_back(next.end->ok() ? "end" : "failed");
      if (!next.item) return told;
      const AttachFeed::Item& item = *next.item;
      if (item.kind == Kind::kMessage) {
        last_ = item.message;
        told.push_back(
            absl::StrCat(item.message->method, " ", item.message->payload));
      } else if (item.kind == Kind::kCancelled) {
        told.push_back(
            absl::StrCat("cancelled ", static_cast<int>(item.cause)));
        EXPECT_NE(item.number, 0);
      } else if (item.kind == Kind::kReport) {
        told.push_back(absl::StrCat("report ", item.number, " ",
                                    static_cast<int>(item.outcome)));
      } else {
        told.push_back("event");
      }
    }
  }
  void Say(const Connected& c, const std::string& text,
           Opcode opcode = Opcode::kText) {
    hub_->shards()[c.shard]->OnMessage(c.slot, opcode, text);
    RunAll();
  }
  void Request(const Connected& c, const std::string& id,
               const std::string& method, const std::string& params = "[]") {
    Say(c, absl::StrCat(R"({"jsonrpc":"2.0","id":)", id, R"(,"method":")",
                        method, R"(","params":)", params, "}"));
  }
  void Notify(const Connected& c, const std::string& method,
              const std::string& params = "[]") {
    Say(c, absl::StrCat(R"({"jsonrpc":"2.0","method":")", method,
                        R"(","params":)", params, "}"));
  }
  // Replies to the last request that Told saw.
  void Reply(const AttachFeedPtr& feed, const std::string& json,
             uint64_t report = 0) {
    ReplyTo(feed, last_->id, json, report);
  }
  void ReplyTo(const AttachFeedPtr& feed, uint64_t id, const std::string& json,
               uint64_t report = 0) {
    hub_->Reply(feed, {id, false, json, report});
    RunAll();
  }
  // The payloads that a client was sent since.
  std::vector<std::string> Heard(const Connected& c) {
    std::vector<std::string> texts;
    for (const std::string& frame : SocketOf(c).sent) {
      texts.push_back(frame.substr(frame.size() < 128 ? 2 : 4));
    }
    SocketOf(c).sent.clear();
    return texts;
  }

  Hub::AskedPtr Ask(const Connected& c, const std::string& method = "m") {
    AskCommand command;
    command.method = method;
    outcome_.reset();
    auto asked = hub_->Ask(c.id, command, [this](absl::StatusOr<AskOutcome> o) {
      outcome_ = std::move(o);
    });
    RunAll();
    return asked;
  }

  ClientMessagePtr last_;
  std::optional<absl::StatusOr<AskOutcome>> outcome_;
};

// ---- requests ---------------------------------------------------------------

TEST_F(ConversationTest, ARequestReachesOneServiceAndItsReplyTheClient) {
  const auto one = Attach(Taking({"orders.*"}), 10);
  const auto two = Attach(Taking({"orders.*"}), 20);
  const auto c = Connect(1, "a1/s1");
  Request(c, R"("x\u0041")", "orders.create", R"({"n": 1})");
  EXPECT_THAT(Told(one), IsEmpty());
  EXPECT_THAT(Told(two), ElementsAre(R"(orders.create {"n": 1})"));
  EXPECT_EQ(last_->from->id, c.id);
  EXPECT_EQ(last_->sequence, 1);
  Reply(two, R"({ "made" : true})");
  EXPECT_THAT(
      Heard(c),
      ElementsAre(
          R"({"jsonrpc":"2.0","id":"x\u0041","result":{ "made" : true}})"));
  Reply(two, "1");  // once
  EXPECT_THAT(Heard(c), IsEmpty());
}

TEST_F(ConversationTest, OnlyItsOwnServiceReplies) {
  const auto one = Attach(Taking({"a"}), 10);
  const auto two = Attach(Taking({"b"}), 10);
  const auto c = Connect(0, "a1");
  Request(c, "1", "a");
  EXPECT_THAT(Told(one), SizeIs(1));
  Reply(two, "1", /*report=*/7);
  EXPECT_THAT(Told(two), ElementsAre("report 7 2"));
  EXPECT_THAT(Heard(c), IsEmpty());
  Reply(one, "2", /*report=*/8);
  EXPECT_THAT(Told(one), ElementsAre("report 8 0"));
  EXPECT_THAT(Heard(c), ElementsAre(HasSubstr("\"result\":2")));
}

TEST_F(ConversationTest, AGuessIsNoReply) {
  const auto feed = Attach(Taking({"*"}), 1);
  const auto c = Connect(0, "a1");
  Request(c, "1", "m");
  Request(c, "2", "m");
  EXPECT_THAT(Told(feed), SizeIs(1));
  ReplyTo(feed, last_->id + 0x100, "\"guess\"", /*report=*/7);
  EXPECT_THAT(Heard(c), IsEmpty());
  EXPECT_THAT(Told(feed), ElementsAre("report 7 2"));
  feed->AddMessageCredit(1);
  EXPECT_THAT(Told(feed), SizeIs(1));
  Reply(feed, "1");
  EXPECT_THAT(Heard(c), ElementsAre(HasSubstr(R"("id":2,"result":1)")));
}

TEST_F(ConversationTest, NobodyServesIt) {
  const auto c = Connect(0, "a1");
  Request(c, "1", "a");
  EXPECT_THAT(Heard(c), ElementsAre(HasSubstr("-32601")));
  Notify(c, "a");
  EXPECT_THAT(Heard(c), IsEmpty());
  const auto feed = Attach(Taking({"b.*"}), 10);
  Request(c, "1", "a");
  EXPECT_THAT(Heard(c), ElementsAre(HasSubstr("-32601")));
  EXPECT_THAT(Told(feed), IsEmpty());
}

TEST_F(ConversationTest, AServiceTakesFromTheConnectionsOfItsFilter) {
  MessageSpec spec = Taking({"*"});
  spec.from = Where("account_id = \"a1\"");
  const auto narrow = Attach(spec, 10);
  const auto c1 = Connect(0, "a1");
  const auto c2 = Connect(0, "a2");
  Notify(c1, "m");
  Notify(c2, "m");
  EXPECT_THAT(Told(narrow), SizeIs(1));
}

TEST_F(ConversationTest, WithoutCreditItWaitsAndBeyondTheLimitIsRefused) {
  Settings settings = DefaultSettings();
  settings.limits.max_waiting_messages = 2;
  Start(settings);
  const auto feed = Attach(Taking({"*"}), 0);
  const auto c = Connect(0, "a1");
  for (int i = 1; i <= 3; ++i) Request(c, absl::StrCat(i), "m");
  EXPECT_THAT(Told(feed), IsEmpty());
  EXPECT_THAT(Heard(c),
              ElementsAre(AllOf(HasSubstr(R"("id":3)"), HasSubstr("-32000"),
                                HasSubstr(R"("data":{"retry_after":1})"))));
  feed->AddMessageCredit(1);
  EXPECT_THAT(Told(feed), SizeIs(1));
  Request(c, "4", "m");
  EXPECT_THAT(Heard(c), IsEmpty());
  feed->AddMessageCredit(5);
  EXPECT_THAT(Told(feed), SizeIs(2));
}

TEST_F(ConversationTest, WaitingBytesAreLimitedButOneAlwaysFits) {
  Settings settings = DefaultSettings();
  settings.limits.max_waiting_bytes = 100;
  Start(settings);
  const auto feed = Attach(Taking({"*"}), 0);
  const auto c = Connect(0, "a1");
  Request(c, "1", "m", absl::StrCat("[\"", std::string(200, 'x'), "\"]"));
  EXPECT_THAT(Heard(c), IsEmpty());
  Request(c, "2", "m");
  EXPECT_THAT(Heard(c), ElementsAre(HasSubstr("-32000")));
}

TEST_F(ConversationTest, AClientHasOnlySoManyOpen) {
  Settings settings = DefaultSettings();
  settings.endpoints[0].max_requests_in_flight = 2;
  Start(settings);
  const auto feed = Attach(Taking({"*"}), 10);
  const auto c = Connect(0, "a1");
  const auto other = Connect(0, "a2");
  for (int i = 1; i <= 3; ++i) Request(c, absl::StrCat(i), "m");
  EXPECT_THAT(Heard(c), ElementsAre(HasSubstr("-32000")));
  Request(other, "1", "m");
  EXPECT_THAT(Told(feed), SizeIs(3));
  Reply(feed, "1");
  EXPECT_THAT(Heard(other), SizeIs(1));
}

TEST_F(ConversationTest, AllTogetherHaveOnlySoManyOpen) {
  Settings settings = DefaultSettings();
  settings.limits.max_requests_in_flight = 1;
  Start(settings);
  const auto feed = Attach(Taking({"*"}), 10);
  const auto c1 = Connect(0, "a1");
  const auto c2 = Connect(1, "a2");
  Request(c1, "1", "m");
  Request(c2, "2", "m");
  EXPECT_THAT(Heard(c2), ElementsAre(HasSubstr("-32000")));
  EXPECT_THAT(Told(feed), SizeIs(1));
  Reply(feed, "1");
  Request(c2, "3", "m");
  EXPECT_THAT(Heard(c2), IsEmpty());
  EXPECT_THAT(Told(feed), SizeIs(1));
}

TEST_F(ConversationTest, AServiceThatDoesNotReplyIsNotWaitedForForever) {
  const auto feed = Attach(Taking({"*"}), 10);
  const auto c = Connect(0, "a1");
  Request(c, "1", "m");
  EXPECT_THAT(Told(feed), SizeIs(1));
  Pass(absl::Seconds(61));
  EXPECT_THAT(Heard(c), ElementsAre(HasSubstr("-32001")));
  EXPECT_THAT(Told(feed), ElementsAre("cancelled 2"));
  Reply(feed, "1");
  EXPECT_THAT(Heard(c), IsEmpty());
}

TEST_F(ConversationTest, AReplyThatIsTooLongIsAnError) {
  Settings settings = DefaultSettings();
  settings.endpoints[0].max_message_bytes = 200;
  Start(settings);
  const auto feed = Attach(Taking({"*"}), 10);
  const auto c = Connect(0, "a1");
  Request(c, "1", "m");
  EXPECT_THAT(Told(feed), SizeIs(1));
  Reply(feed, absl::StrCat("\"", std::string(200, 'x'), "\""), /*report=*/5);
  EXPECT_THAT(Heard(c), ElementsAre(HasSubstr("-32603")));
  EXPECT_THAT(Told(feed),
              ElementsAre(absl::StrCat("report 5 ",
                                       static_cast<int>(SendOutcome::kUnfit))));
}

// ---- cancelling -------------------------------------------------------------

TEST_F(ConversationTest, AClientCancelsWhatIsGivenAndWhatWaits) {
  const auto feed = Attach(Taking({"*"}), 1);
  const auto c = Connect(0, "a1");
  Request(c, "1", "m");
  Request(c, "\"two\"", "m");
  EXPECT_THAT(Told(feed), SizeIs(1));
  Notify(c, "cancel", R"({"request_id":1})");
  Notify(c, "cancel", R"({"request_id":"two"})");
  EXPECT_THAT(Heard(c),
              ElementsAre(HasSubstr(R"("id":1,"error":{"code":-32800)"),
                          HasSubstr(R"("id":"two","error":{"code":-32800)")));
  feed->AddMessageCredit(5);
  EXPECT_THAT(Told(feed), ElementsAre("cancelled 0"));
  // Over, unknown, nonsense: silence.
  for (const char* params :
       {R"({"request_id":1})", R"({"request_id":99})", "[]"}) {
    Notify(c, "cancel", params);
  }
  EXPECT_THAT(Heard(c), IsEmpty());
  EXPECT_THAT(Told(feed), IsEmpty());
}

TEST_F(ConversationTest, CancellingIsOnlyForOnesOwn) {
  const auto feed = Attach(Taking({"*"}), 10);
  const auto c1 = Connect(0, "a1");
  const auto c2 = Connect(0, "a1");
  Request(c1, "1", "m");
  Notify(c2, "cancel", R"({"request_id":1})");
  EXPECT_THAT(Told(feed), SizeIs(1));
  Reply(feed, "1");
  EXPECT_THAT(Heard(c1), SizeIs(1));
}

TEST_F(ConversationTest, AServiceHearsWhenTheClientLeaves) {
  const auto feed = Attach(Taking({"*"}), 1);
  const auto c = Connect(0, "a1");
  Request(c, "1", "m");
  Request(c, "2", "m");
  Notify(c, "n");
  EXPECT_THAT(Told(feed), SizeIs(1));
  Gone(c);
  EXPECT_THAT(Told(feed), ElementsAre("cancelled 1"));
  feed->AddMessageCredit(5);
  EXPECT_THAT(Told(feed), IsEmpty());
}

TEST_F(ConversationTest, NothingIsGivenAfterARevocation) {
  const auto feed = Attach(Taking({"*"}), 0);
  const auto c = Connect(0, "a1/s1");
  Request(c, "1", "m");
  Notify(c, "n");
  EXPECT_EQ(CloseAccount("a1"), 1);
  feed->AddMessageCredit(5);
  EXPECT_THAT(Told(feed), IsEmpty());
  Notify(c, "n");
  EXPECT_THAT(Told(feed), IsEmpty());
}

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

// ---- asking clients ---------------------------------------------------------

TEST_F(ConversationTest, AClientIsAskedAndReplies) {
  const auto c = Connect(2, "a1");
  Ask(c, "who");
  const auto heard = Heard(c);
  ASSERT_THAT(heard,
              ElementsAre(R"({"jsonrpc":"2.0","id":"s1","method":"who"})"));
  EXPECT_FALSE(outcome_);
  Say(c, R"({"jsonrpc":"2.0","id":"s1","result":{ "a" : 1}})");
  ASSERT_TRUE(outcome_.has_value() && outcome_->ok());
  EXPECT_EQ((*outcome_)->kind, AskOutcome::Kind::kResult);
  EXPECT_EQ((*outcome_)->json, R"({ "a" : 1})");
  // Again, unasked, on a number: nothing happens.
  for (const char* junk : {"\"s1\"", "\"s2\"", "1", "\"x\""}) {
    Say(c, absl::StrCat(R"({"jsonrpc":"2.0","result":1,"id":)", junk, "}"));
  }
  EXPECT_FALSE(SocketOf(c).closed);
  EXPECT_EQ(hub_->shards()[2]->stats().replies_unmatched.value(), 4);
}

TEST_F(ConversationTest, AReplyOnAnotherSocketSettlesNothing) {
  const auto c1 = Connect(0, "a1");
  const auto c2 = Connect(0, "a1");
  Ask(c1);
  Say(c2, R"({"jsonrpc":"2.0","id":"s1","result":1})");
  EXPECT_FALSE(outcome_);
  Say(c1, R"({"jsonrpc":"2.0","id":"s1","error":{"code":7,"message":"no"}})");
  ASSERT_TRUE(outcome_.has_value() && outcome_->ok());
  EXPECT_EQ((*outcome_)->kind, AskOutcome::Kind::kError);
  EXPECT_EQ((*outcome_)->json, R"({"code":7,"message":"no"})");
}

TEST_F(ConversationTest, AQuestionHasItsTimeAndItsConnection) {
  const auto c = Connect(0, "a1");
  Ask(c);
  Heard(c);
  Pass(absl::Seconds(11));
  EXPECT_EQ((*outcome_)->kind, AskOutcome::Kind::kTimeout);
  EXPECT_THAT(
      Heard(c),
      ElementsAre(
          R"({"jsonrpc":"2.0","method":"cancel","params":{"request_id":"s1"}})"));
  Ask(c);
  Gone(c);
  EXPECT_EQ((*outcome_)->kind, AskOutcome::Kind::kGone);
  Ask(c);
  EXPECT_EQ(outcome_->status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ConversationTest, AQuestionIsCancelledAndFreesItsPlace) {
  const auto c = Connect(0, "a1");
  const auto first = Ask(c);
  for (size_t i = 1; i < Conversation::kMaxQuestions; ++i) Ask(c);
  Heard(c);
  Ask(c);
  EXPECT_EQ((*outcome_)->kind, AskOutcome::Kind::kTooManyInFlight);
  EXPECT_THAT(Heard(c), IsEmpty());
  hub_->Unask(first);
  RunAll();
  EXPECT_THAT(Heard(c), ElementsAre(HasSubstr(R"("request_id":"s1")")));
  Ask(c);
  EXPECT_FALSE(outcome_);
}

TEST_F(ConversationTest, WhoCannotBeAsked) {
  const auto pending = Connect(0);
  Ask(pending);
  EXPECT_EQ(GetErrorReason(outcome_->status()).reason, "CONNECTION_PENDING");
  const auto slow = Connect(0, "a1");
  SocketOf(slow).next_result = SendResult::kTooSlow;
  Ask(slow);
  EXPECT_EQ((*outcome_)->kind, AskOutcome::Kind::kDroppedSlow);
  EXPECT_EQ(SocketOf(slow).code, CloseCode::kSlowConsumer);
  const auto revoked = Connect(0, "a2");
  Ask(revoked);
  EXPECT_EQ(CloseAccount("a2"), 1);
  EXPECT_EQ((*outcome_)->kind, AskOutcome::Kind::kGone);
}

TEST_F(ConversationTest, ManyAreAskedUntilThereIsEnough) {
  std::vector<Connected> clients;
  for (size_t i = 0; i < 4; ++i) clients.push_back(Connect(i % kShards, "a1"));
  const auto ask = [&](uint64_t enough) {
    AskFilteredCommand command;
    command.ns = "default";
    command.predicate = Predicate::All();
    command.ask.method = "m";
    command.exclude = {clients[3].id};
    command.max_results = enough;
    const AskFeedPtr feed = hub_->AskFiltered(command);
    RunAll();
    EXPECT_FALSE(feed->TakeNext().end);
    EXPECT_THAT(Heard(clients[3]), IsEmpty());
    const auto reply = [&](size_t client, const char* what) {
      const std::string asked = Heard(clients[client])[0];
      const size_t id = asked.find("\"s");
      Say(clients[client],
          absl::StrCat(R"({"jsonrpc":"2.0","id":)",
                       asked.substr(id, asked.find('"', id + 1) + 1 - id), ",",
                       what, "}"));
    };
    reply(0, R"("error":{"code":1,"message":"m"})");
    reply(1, R"("result":1)");
    if (enough == 0) Pass(absl::Seconds(11));
    std::vector<int> kinds;
    for (;;) {
      const AskFeed::Next next = feed->TakeNext();
      if (next.end) {
        EXPECT_TRUE(next.end->ok());
        break;
      }
      if (!next.outcome) {
        ADD_FAILURE() << "an outcome is missing";
        break;
      }
      kinds.push_back(static_cast<int>(next.outcome->outcome.kind));
    }
    for (const Connected& c : clients) Heard(c);
    return kinds;
  };
  using AskKind = AskOutcome::Kind;
  EXPECT_THAT(ask(0), ElementsAre(static_cast<int>(AskKind::kError),
                                  static_cast<int>(AskKind::kResult),
                                  static_cast<int>(AskKind::kTimeout)));
  EXPECT_THAT(ask(1), ElementsAre(static_cast<int>(AskKind::kError),
                                  static_cast<int>(AskKind::kResult),
                                  static_cast<int>(AskKind::kCancelled)));
}

}  // namespace
}  // namespace broker::testing
