// What a revocation promises with a journal: OK means that it is written, it is
// enforced whether or not it is, and it holds in the next run.

#include "broker/core/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/hub_fixture.h"

namespace broker::testing {
namespace {

using Kind = RevocationTarget::Kind;

class DurabilityTest : public HubFixture {
 protected:
  void StartRun() { Start(DefaultSettings(), &journal_); }

  // Starts a revocation; its answer is in `answer_` when there is one.
  void BeginRevoke(RevokeCommand command) {
    answer_.reset();
    hub_->Revoke(std::move(command), [this](absl::StatusOr<RevokeResult> r) {
      answer_ = std::move(r);
    });
    RunAll();
  }
  RevokeResult RevokeAndWrite(RevokeCommand command) {
    BeginRevoke(std::move(command));
    EXPECT_FALSE(answer_);
    journal_.Write();
    EXPECT_TRUE(answer_ && answer_->ok());
    return **answer_;
  }
  // Whether a credential that was verified at that epoch is let in.
  int Knock(const std::string& who, uint64_t epoch) {
    HandshakeFacts facts;
    facts.path = "/ws";
    facts.ticket = Mint(Who(who), epoch);
    return hub_->shards()[0]->CheckHandshake(facts).http_status;
  }

  FakeJournal journal_;
  std::optional<absl::StatusOr<RevokeResult>> answer_;
};

TEST_F(DurabilityTest, EnforcesAtOnceAndAnswersWhenItIsWritten) {
  StartRun();
  const uint64_t before = hub_->epoch();
  const Connected c = Connect(1, "a/s");
  BeginRevoke(ByKey(Kind::kAccount, "a"));
  EXPECT_TRUE(SocketOf(c).closed);
  EXPECT_EQ(Knock("a/s", before), 401);
  EXPECT_FALSE(answer_);
  journal_.Write();
  ASSERT_TRUE(answer_ && answer_->ok());
  EXPECT_EQ((*answer_)->closed, 1u);
}

TEST_F(DurabilityTest, IsNeverAnsweredOkWhenItCouldNotBeWritten) {
  StartRun();
  const uint64_t before = hub_->epoch();
  const Connected c = Connect(1, "a/s");
  BeginRevoke(ByKey(Kind::kAccount, "a"));
  journal_.Write(absl::UnavailableError("disk full"));
  ASSERT_TRUE(answer_);
  EXPECT_EQ(answer_->status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(answer_->status().message()),
              ::testing::HasSubstr("disk full"));
  const ErrorReason reason = GetErrorReason(answer_->status());
  EXPECT_EQ(reason.reason, "JOURNAL_FAILED");
  EXPECT_EQ(reason.metadata.at(0),
            (std::pair<std::string, std::string>("closed", "1")));
  // It is enforced all the same.
  EXPECT_TRUE(SocketOf(c).closed);
  EXPECT_EQ(Knock("a/s", before), 401);
  // And can be asked for again.
  EXPECT_EQ(RevokeAndWrite(ByKey(Kind::kAccount, "a")).closed, 0u);
}

TEST_F(DurabilityTest, WithoutAFenceThereIsNothingToWrite) {
  StartRun();
  Connect(1, "a/s");
  BeginRevoke(ByFilter("account_id = \"a\""));
  ASSERT_TRUE(answer_ && answer_->ok());
  EXPECT_EQ(journal_.waiting(), 0u);
}

TEST_F(DurabilityTest, HoldsInTheNextRun) {
  StartRun();
  const uint64_t before = hub_->epoch();
  RevokeCommand all = ByKey(Kind::kAccount, "a");
  all.target.keep_token_hash = "kept";
  const uint64_t at = RevokeAndWrite(std::move(all)).epoch;
  RevokeCommand blocked = ByKey(Kind::kSession, "s2");
  blocked.block_for = absl::Hours(2);
  const uint64_t last = RevokeAndWrite(std::move(blocked)).epoch;
  clock_.Advance(absl::Hours(1));

  StartRun();
  EXPECT_GT(hub_->epoch(), last);
  EXPECT_LE(hub_->oldest_epoch(), before);
  EXPECT_EQ(Knock("a/s", before), 401);
  EXPECT_EQ(Knock("a/kept", before), 101);
  EXPECT_EQ(Knock("a/s", at), 101);
  EXPECT_EQ(Knock("b/s2", hub_->epoch()), 401);
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(Knock("b/s2", hub_->epoch()), 101);
  // It can be taken back, for good.
  const auto fences = hub_->ListRevocations(std::nullopt, 0, 10);
  ASSERT_EQ(fences.size(), 2u);
  std::optional<absl::StatusOr<FencePtr>> lifted;
  hub_->LiftRevocation(fences[0]->id, [&](auto r) { lifted = r; });
  RunAll();
  EXPECT_FALSE(lifted);
  journal_.Write();
  ASSERT_TRUE(lifted && lifted->ok());
  StartRun();
  EXPECT_EQ(Knock("a/s", before), 101);
}

TEST_F(DurabilityTest, AnUnwrittenOneIsLostWithTheProcessAndWasNotPromised) {
  StartRun();
  const uint64_t before = hub_->epoch();
  BeginRevoke(ByKey(Kind::kAccount, "a"));
  const uint64_t unwritten = hub_->epoch();
  journal_.Crash();
  EXPECT_FALSE(answer_);
  clock_.Advance(absl::Seconds(1));
  StartRun();
  EXPECT_GT(hub_->epoch(), unwritten);
  EXPECT_EQ(Knock("a/s", before), 101);
}

TEST_F(DurabilityTest, SaysWhenALiftCouldNotBeWritten) {
  StartRun();
  RevokeAndWrite(ByKey(Kind::kAccount, "a"));
  std::optional<absl::StatusOr<FencePtr>> lifted;
  hub_->LiftRevocation(hub_->ListRevocations(std::nullopt, 0, 1)[0]->id,
                       [&](auto r) { lifted = r; });
  RunAll();
  journal_.Write(absl::UnavailableError("disk full"));
  ASSERT_TRUE(lifted);
  EXPECT_EQ(GetErrorReason(lifted->status()).reason, "JOURNAL_FAILED");
}

TEST_F(DurabilityTest, ForgetsInTheJournalAndRefusesWhatIsOlder) {
  Settings settings = DefaultSettings();
  settings.revocation_retention = absl::Hours(1);
  Start(settings, &journal_);
  const uint64_t before = hub_->epoch();
  const uint64_t at = RevokeAndWrite(ByKey(Kind::kAccount, "a")).epoch;
  clock_.Advance(absl::Hours(1));
  RevokeAndWrite(ByKey(Kind::kAccount, "b"));
  EXPECT_EQ(journal_.fences().size(), 1u);
  EXPECT_EQ(hub_->oldest_epoch(), at);
  StartRun();
  EXPECT_EQ(hub_->oldest_epoch(), at);
  Ticket old;
  old.verified_at_epoch = before;
  EXPECT_EQ(GetErrorReason(hub_->MintTicket(old).status()).reason,
            "EPOCH_TOO_OLD");
}

TEST_F(DurabilityTest, ForgetsWhatHasRunItsTimeWhileTheBrokerWasDown) {
  Settings settings = DefaultSettings();
  settings.revocation_retention = absl::Hours(1);
  Start(settings, &journal_);
  const uint64_t at = RevokeAndWrite(ByKey(Kind::kAccount, "a")).epoch;
  clock_.Advance(absl::Hours(2));
  Start(settings, &journal_);
  EXPECT_EQ(hub_->oldest_epoch(), at);
  EXPECT_TRUE(hub_->ListRevocations(std::nullopt, 0, 10).empty());
  journal_.Write();
  EXPECT_TRUE(journal_.fences().empty());
}

TEST_F(DurabilityTest, RetentionChangesForRevocationsToCome) {
  StartRun();
  Settings shorter = DefaultSettings();
  shorter.revocation_retention = absl::Minutes(5);
  hub_->Reload(std::make_shared<const Settings>(shorter));
  RevokeAndWrite(ByKey(Kind::kAccount, "a"));
  const Fence& fence = *journal_.fences().begin()->second;
  EXPECT_EQ(fence.forget_at_wall - fence.create_time, absl::Minutes(5));
}

}  // namespace
}  // namespace broker::testing
