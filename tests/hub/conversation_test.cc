// What clients say to services, and services to clients, over fake sockets.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/hub/conversation_fixture.h"

namespace broker::testing {
namespace {

using Kind = AttachFeed::Item::Kind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

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
