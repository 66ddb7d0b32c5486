// What revocation promises: DESIGN's rules for fences and epochs, over fake
// sockets.

#include "broker/core/status.h"
#include "gtest/gtest.h"
#include "tests/fakes/hub_fixture.h"

namespace broker::testing {
namespace {

using Kind = RevocationTarget::Kind;

class RevocationTest : public HubFixture {};

TEST_F(RevocationTest, AccountClosesAllCredentialsAndOnlyItReachesDaemons) {
  Start();
  const Connected session = Connect(0, "a/s");
  const Connected token = Connect(1, "a#t");
  const Connected daemon = Connect(2, "a");
  const Connected other = Connect(0, "b/s2");
  EXPECT_EQ(Revoke(ByKey(Kind::kSession, "nobody"))->closed, 0u);
  EXPECT_EQ(Revoke(ByKey(Kind::kToken, "s"))->closed, 0u);
  EXPECT_EQ(CloseAccount("a"), 3u);
  EXPECT_EQ(CloseAccount("a"), 0u);
  EXPECT_FALSE(SocketOf(other).closed);
  for (const Connected& c : {session, token, daemon}) {
    EXPECT_EQ(SocketOf(c).code, CloseCode::kRevoked);
  }
}

TEST_F(RevocationTest, TokenLeavesSessionsAndOtherTokens) {
  Start();
  const Connected session = Connect(0, "a/s");
  const Connected token = Connect(0, "a#t1");
  const Connected other = Connect(0, "a#t2");
  EXPECT_EQ(Revoke(ByKey(Kind::kToken, "t1"))->closed, 1u);
  EXPECT_TRUE(SocketOf(token).closed);
  EXPECT_FALSE(SocketOf(session).closed);
  EXPECT_FALSE(SocketOf(other).closed);
}

TEST_F(RevocationTest, RefusesWhatWasVerifiedBeforeAndOnlyThat) {
  Start();
  const uint64_t before = hub_->epoch();
  const std::string old_ticket = Mint(Who("a/s"));
  const uint64_t at = Revoke(ByKey(Kind::kAccount, "a"))->epoch;
  EXPECT_EQ(at, before + 1);
  EXPECT_EQ(Knock(old_ticket), 401);
  EXPECT_EQ(Knock(Mint(Who("a/s"), before)), 401);  // minted late, read early
  EXPECT_EQ(Knock(Mint(Who("a/s"), at)), 101);
  EXPECT_EQ(Knock(Mint(Who("b/s"), before)), 101);
}

TEST_F(RevocationTest, BindingUsesTheEpochOfTheHandshakeUnlessTold) {
  Start();
  const Connected c = Connect(0);
  const uint64_t at = Revoke(ByKey(Kind::kSession, "s"))->epoch;
  const auto refused = Bind(c, "a/s");
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetErrorReason(refused.status()).reason, "CREDENTIAL_REVOKED");
  BindCommand again;
  again.id = c.id;
  again.identity = Who("a/s");
  again.verified_at_epoch = at;
  EXPECT_TRUE(Await<ConnectionInfoPtr>([&](auto done) {
                hub_->Bind(again, std::move(done));
              }).ok());
}

TEST_F(RevocationTest, EpochsAheadOrForgottenAreRefused) {
  Start();
  Ticket ticket;
  ticket.ns = "default";
  ticket.identity = Who("a");
  ticket.verified_at_epoch = hub_->epoch() + 1;
  const absl::Status ahead = hub_->MintTicket(ticket).status();
  EXPECT_EQ(ahead.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetErrorReason(ahead).reason, "EPOCH_AHEAD");
  ticket.verified_at_epoch = hub_->oldest_epoch() - 1;
  EXPECT_EQ(GetErrorReason(hub_->MintTicket(ticket).status()).reason,
            "EPOCH_TOO_OLD");
}

TEST_F(RevocationTest, KeepSparesOneSessionFromCloseAndFence) {
  Start();
  const Connected kept = Connect(0, "a/s1");
  const Connected gone = Connect(0, "a/s2");
  const uint64_t before = hub_->epoch();
  RevokeCommand command = ByKey(Kind::kAccount, "a");
  command.target.keep_token_hash = "s1";
  EXPECT_EQ(Revoke(command)->closed, 1u);
  EXPECT_FALSE(SocketOf(kept).closed);
  EXPECT_TRUE(SocketOf(gone).closed);
  EXPECT_EQ(Knock(Mint(Who("a/s1"), before)), 101);
  EXPECT_EQ(Knock(Mint(Who("a/s2"), before)), 401);
  EXPECT_EQ(Knock(Mint(Who("a"), before)), 401);
}

TEST_F(RevocationTest, BlockForRefusesWhateverTheEpochUntilItEnds) {
  Start();
  RevokeCommand command = ByKey(Kind::kSession, "s");
  command.block_for = absl::Seconds(60);
  ASSERT_TRUE(Revoke(command).ok());
  EXPECT_EQ(Knock(Mint(Who("a/s"))), 401);
  clock_.Advance(absl::Seconds(60));
  EXPECT_EQ(Knock(Mint(Who("a/s"))), 101);
}

TEST_F(RevocationTest, AFilterFenceBlocksBindingsAndUpdatesUntilItEnds) {
  Start();
  const Connected c = Connect(0, "b/s");
  RevokeCommand command = ByFilter("account_id = a OR labels.bad = yes");
  command.fence = true;
  command.block_for = absl::Seconds(60);
  ASSERT_EQ(Revoke(command)->closed, 0u);
  EXPECT_EQ(Knock(Mint(Who("a/s"))), 401);
  UpdateCommand update;
  update.id = c.id;
  update.labels = {std::pair<std::string, std::string>("bad", "yes")};
  const auto updated = Await<ConnectionInfoPtr>(
      [&](auto done) { hub_->Update(update, std::move(done)); });
  EXPECT_EQ(updated.value()->state, ConnectionState::kClosing);
  EXPECT_EQ(SocketOf(c).code, CloseCode::kRevoked);
  clock_.Advance(absl::Seconds(60));
  EXPECT_EQ(Knock(Mint(Who("a/s"))), 101);
}

// An update closes what it turns into a match, and nothing else.
TEST_F(RevocationTest, AnExcludedConnectionMayBeUpdatedUntilItMatchesAnew) {
  Start();
  const Connected c = Connect(0, "a/s");
  RevokeCommand command = ByFilter("account_id = a AND NOT labels.x = \"1\"");
  command.fence = true;
  command.block_for = absl::Seconds(60);
  command.exclude.insert(c.id);
  ASSERT_EQ(Revoke(command)->closed, 0u);
  const auto set = [&](const std::string& label, const std::string& value) {
    UpdateCommand update;
    update.id = c.id;
    update.labels = {std::pair<std::string, std::string>(label, value)};
    ASSERT_TRUE(Await<ConnectionInfoPtr>([&](auto done) {
                  hub_->Update(update, std::move(done));
                }).ok());
  };
  set("y", "1");
  EXPECT_FALSE(SocketOf(c).closed);
  BulkUpdateCommand bulk;
  bulk.ns = "default";
  bulk.predicate = Predicate::All();
  bulk.add_groups = {"g"};
  EXPECT_EQ(Await<BulkUpdateResult>([&](auto done) {
              hub_->UpdateFiltered(bulk, std::move(done));
            })->updated,
            1u);
  EXPECT_FALSE(SocketOf(c).closed);
  set("x", "1");
  EXPECT_FALSE(SocketOf(c).closed);
  set("y", "1");
  EXPECT_EQ(SocketOf(c).code, CloseCode::kRevoked);
}

TEST_F(RevocationTest, TheGuardCountsFirstAndLeavesNoTrace) {
  Start();
  Connect(0, "a/s1");
  Connect(1, "a/s2");
  RevokeCommand command = ByFilter("account_id = a");
  command.max_connections = 1;
  command.fence = true;
  command.block_for = absl::Seconds(60);
  const uint64_t before = hub_->epoch();
  const auto result = Revoke(command);
  EXPECT_EQ(GetErrorReason(result.status()).reason, "TOO_MANY_CONNECTIONS");
  EXPECT_EQ(hub_->epoch(), before);
  EXPECT_EQ(Count(), 2u);
  command.max_connections = 2;
  EXPECT_EQ(Revoke(command)->closed, 2u);
}

TEST_F(RevocationTest, ValidateOnlyCountsAndDoesNothing) {
  Start();
  Connect(0, "a/s1");
  Connect(1);  // pending
  RevokeCommand command = ByFilter("endpoint = \"/ws\"");
  command.validate_only = true;
  EXPECT_EQ(Revoke(command)->closed, 2u);
  EXPECT_EQ(Count(), 1u);
  EXPECT_TRUE(hub_->ListRevocations(std::nullopt, 0, 10).empty());
}

TEST_F(RevocationTest, ExcludedConnectionsStayOpen) {
  Start();
  const Connected one = Connect(0, "a/s");
  const Connected two = Connect(1, "a/s");
  RevokeCommand command = ByKey(Kind::kSession, "s");
  command.exclude.insert(one.id);
  EXPECT_EQ(Revoke(command)->closed, 1u);
  EXPECT_FALSE(SocketOf(one).closed);
  EXPECT_TRUE(SocketOf(two).closed);
}

TEST_F(RevocationTest, LiftingWelcomesAgain) {
  Start();
  const std::string ticket = Mint(Who("a/s"));
  const RevokeResult result = *Revoke(ByKey(Kind::kAccount, "a"));
  EXPECT_EQ(hub_->ListRevocations("default", 0, 10).size(), 1u);
  EXPECT_TRUE(Await<FencePtr>([&](auto done) {
                hub_->LiftRevocation(*result.revocation_id, std::move(done));
              }).ok());
  EXPECT_EQ(Knock(ticket), 101);
  EXPECT_EQ(Await<FencePtr>([&](auto done) {
              hub_->LiftRevocation(*result.revocation_id, std::move(done));
            })
                .status()
                .code(),
            absl::StatusCode::kNotFound);
}

TEST_F(RevocationTest, AForgottenFenceTakesItsEpochWithIt) {
  Start();
  const uint64_t before = hub_->epoch();
  ASSERT_TRUE(Revoke(ByKey(Kind::kAccount, "a")).ok());
  clock_.Advance(absl::Hours(25));
  ASSERT_TRUE(Revoke(ByKey(Kind::kAccount, "b")).ok());
  EXPECT_EQ(hub_->ListRevocations(std::nullopt, 0, 10).size(), 1u);
  EXPECT_EQ(hub_->oldest_epoch(), before + 1);
  Ticket ticket;
  ticket.identity = Who("a");
  ticket.ns = "default";
  ticket.verified_at_epoch = before;
  EXPECT_FALSE(hub_->MintTicket(ticket).ok());
}

// Who may reach a part only revokes that part: connections and bindings.
TEST_F(RevocationTest, CoversNothingOutsideOfItsNamespacesAndFilter) {
  Start();
  const uint64_t before = hub_->epoch();
  const Connected inside = Connect(0, "a/s1");
  const Connected outside = Connect(1, "a/s2");
  RevokeCommand command = ByKey(Kind::kAccount, "a");
  command.target.within = Where("token_hash = s1");
  EXPECT_EQ(Revoke(command)->closed, 1u);
  EXPECT_EQ(Get(inside)->state, ConnectionState::kClosing);
  EXPECT_EQ(Get(outside)->state, ConnectionState::kAdmitted);
  const auto refused = [&](const std::string& who) {
    ConnectionInfo as_bound;
    as_bound.ns = "default";
    as_bound.identity = Who(who);
    return !Await<bool>([&](auto done) {
              hub_->CheckFences(as_bound, before, std::move(done));
            }).ok();
  };
  EXPECT_TRUE(refused("a/s1"));
  EXPECT_FALSE(refused("a/s2"));

  command.target.within = nullptr;
  command.target.namespaces = {"elsewhere", "nowhere"};
  EXPECT_EQ(Revoke(command)->closed, 0u);
  EXPECT_FALSE(refused("a/s2"));
  command.target.namespaces.push_back("default");
  EXPECT_EQ(Revoke(command)->closed, 1u);
  EXPECT_TRUE(refused("a/s2"));

  RevokeCommand filter = ByFilter("account_id = b");
  filter.target.within = Where("token_hash = s3");
  const Connected third = Connect(0, "b/s3");
  Connect(1, "b/s4");
  EXPECT_EQ(Revoke(filter)->closed, 1u);
  EXPECT_EQ(Get(third)->state, ConnectionState::kClosing);
}

}  // namespace
}  // namespace broker::testing
