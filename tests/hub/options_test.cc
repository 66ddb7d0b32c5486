// Messages with options, as the hub has them: what it counts, whom it closes,
// and when it answers.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "tests/fakes/hub_fixture.h"

namespace broker::testing {
namespace {

class OptionsTest : public HubFixture {
 protected:
  OptionsTest() {
    Start();
    one_ = Connect(0, "a/1");
    two_ = Connect(1, "a/2");
    three_ = Connect(1, "a/3");
  }

  static FramePtr Tracked(bool keep_each) {
    MessageOptions options;
    options.tracker = std::make_shared<OutcomeTracker>(keep_each);
    return Frame::Encode(
        Opcode::kText, "x",
        std::make_shared<const MessageOptions>(std::move(options)));
  }
  // Sends to everybody; the answer, when it comes, is tally_.
  void Send(FramePtr frame, bool include_outcomes = false) {
    SendCommand command;
    command.ns = "default";
    command.predicate = Predicate::All();
    command.frame = std::move(frame);
    command.include_outcomes = include_outcomes;
    hub_->Send(command, [&](absl::StatusOr<SendTally> tally) {
      ASSERT_TRUE(tally.ok()) << tally.status();
      ASSERT_FALSE(tally_.has_value());
      tally_ = *std::move(tally);
    });
    RunAll();
  }
  void End(const Connected& c, SendOutcome outcome) {
    transports_[c.shard]->EndTracked(*hub_->shards()[c.shard], c.slot, outcome);
  }

  Connected one_, two_, three_;
  std::optional<SendTally> tally_;
};

TEST_F(OptionsTest, WhoMissesWhatGivesWayStaysOpen) {
  SocketOf(one_).next_result = SendResult::kDropped;
  SocketOf(two_).next_result = SendResult::kExpired;
  Send(Frame::Encode(Opcode::kText, "x"), /*include_outcomes=*/true);
  ASSERT_TRUE(tally_.has_value());
  EXPECT_EQ(tally_->matched, 3u);
  EXPECT_EQ(tally_->queued, 1u);
  EXPECT_EQ(tally_->dropped_slow, 1u);
  EXPECT_EQ(tally_->expired, 1u);
  const std::map outcomes(tally_->outcomes.begin(), tally_->outcomes.end());
  EXPECT_EQ(outcomes.at(one_.id), SendOutcome::kDroppedSlow);
  EXPECT_EQ(outcomes.at(two_.id), SendOutcome::kExpired);
  EXPECT_EQ(outcomes.at(three_.id), SendOutcome::kQueued);
  EXPECT_FALSE(SocketOf(one_).closed);
  EXPECT_FALSE(SocketOf(two_).closed);
  EXPECT_EQ(hub_->shards()[0]->stats().messages_out_dropped_slow.value(), 1u);
  EXPECT_EQ(hub_->shards()[1]->stats().messages_out_expired.value(), 1u);
}

TEST_F(OptionsTest, TheAnswerWaitsForEveryEnd) {
  Send(Tracked(/*keep_each=*/false));
  End(one_, SendOutcome::kWritten);
  End(two_, SendOutcome::kExpired);
  EXPECT_FALSE(tally_.has_value());
  Gone(three_);
  ASSERT_TRUE(tally_.has_value());
  EXPECT_EQ(tally_->matched, 3u);
  EXPECT_EQ(tally_->queued, 3u);
  EXPECT_EQ(tally_->written, 1u);
  EXPECT_EQ(tally_->expired, 1u);
  EXPECT_EQ(tally_->gone, 1u);
  EXPECT_TRUE(tally_->outcomes.empty());
}

TEST_F(OptionsTest, TheAnswerHasTheFinalOutcomes) {
  SocketOf(one_).next_result = SendResult::kTooSlow;
  Send(Tracked(/*keep_each=*/true), /*include_outcomes=*/true);
  EXPECT_TRUE(SocketOf(one_).closed);
  End(two_, SendOutcome::kWritten);
  EXPECT_FALSE(tally_.has_value());
  End(three_, SendOutcome::kDroppedSlow);
  ASSERT_TRUE(tally_.has_value());
  EXPECT_EQ(tally_->queued, 2u);
  EXPECT_EQ(tally_->dropped_slow, 2u);
  EXPECT_EQ(tally_->outcomes.size(), 3u);
  const std::map outcomes(tally_->outcomes.begin(), tally_->outcomes.end());
  EXPECT_EQ(outcomes.at(one_.id), SendOutcome::kDroppedSlow);
  EXPECT_EQ(outcomes.at(two_.id), SendOutcome::kWritten);
  EXPECT_EQ(outcomes.at(three_.id), SendOutcome::kDroppedSlow);
}

TEST_F(OptionsTest, NobodyToWaitForIsAnsweredAtOnce) {
  for (const Connected& c : {one_, two_, three_}) {
    SocketOf(c).next_result = SendResult::kExpired;
  }
  Send(Tracked(/*keep_each=*/false));
  ASSERT_TRUE(tally_.has_value());
  EXPECT_EQ(tally_->expired, 3u);
}

TEST_F(OptionsTest, OneConnectionIsWaitedFor) {
  for (const auto outcome : {SendOutcome::kWritten, SendOutcome::kExpired,
                             SendOutcome::kDroppedSlow, SendOutcome::kGone}) {
    std::optional<SendOutcome> answer;
    hub_->SendTo(one_.id, {Tracked(/*keep_each=*/false), absl::OkStatus()},
                 [&](absl::StatusOr<SendOutcome> o) { answer = *o; });
    RunAll();
    EXPECT_FALSE(answer.has_value());
    End(one_, outcome);
    EXPECT_EQ(answer, outcome);
  }
  SocketOf(one_).next_result = SendResult::kExpired;
  const auto answer = Await<SendOutcome>([&](auto done) {
    hub_->SendTo(one_.id, {Tracked(/*keep_each=*/false), absl::OkStatus()},
                 std::move(done));
  });
  EXPECT_EQ(*answer, SendOutcome::kExpired);
}

}  // namespace
}  // namespace broker::testing
