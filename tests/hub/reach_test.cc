// Who reaches a part only: what a connection outside of it is to them.

#include "broker/core/status.h"
#include "gtest/gtest.h"
#include "tests/fakes/hub_fixture.h"

namespace broker::testing {
namespace {

class ReachTest : public HubFixture {
 protected:
  void SetUp() override {
    Start();
    inside_ = Connect(0, "a/s1");
    outside_ = Connect(1, "b/s2");
    auto reach = std::make_shared<Reach>();
    reach->namespaces = {"default"};
    reach->filter = Where("account_id = a");
    reach_ = std::move(reach);
  }

  absl::Status AddGroup(const Connected& c, const std::string& group) {
    UpdateCommand command;
    command.id = c.id;
    command.groups.emplace({group});
    command.within = reach_;
    return Await<ConnectionInfoPtr>(
               [&](auto done) { hub_->Update(command, std::move(done)); })
        .status();
  }

  Connected inside_, outside_;
  ReachPtr reach_;
};

constexpr auto kNotFound = absl::StatusCode::kNotFound;
constexpr auto kDenied = absl::StatusCode::kPermissionDenied;

TEST_F(ReachTest, ByIdWhatIsOutsideIsNotThere) {
  const auto get = [&](const Connected& c) {
    return Await<ConnectionDetails>(
               [&](auto done) { hub_->Get(c.id, std::move(done), reach_); })
        .status();
  };
  EXPECT_TRUE(get(inside_).ok());
  EXPECT_EQ(get(outside_).code(), kNotFound);
  EXPECT_EQ(AddGroup(outside_, "g").code(), kNotFound);
  EXPECT_EQ(Await<ConnectionInfoPtr>([&](auto done) {
              hub_->Admit(outside_.id, std::move(done), reach_);
            })
                .status()
                .code(),
            kNotFound);
  const auto remove = [&](const Connected& c) {
    return *Await<bool>(
        [&](auto done) { hub_->Remove(c.id, std::move(done), reach_); });
  };
  EXPECT_FALSE(remove(outside_));
  EXPECT_TRUE(remove(inside_));
}

TEST_F(ReachTest, ABindingIsJudgedByWhatItWouldBe) {
  const Connected pending = Connect(2);
  BindCommand command;
  command.id = pending.id;
  command.within = reach_;
  const auto bind = [&](const std::string& who) {
    command.identity = Who(who);
    return Await<ConnectionInfoPtr>(
               [&](auto done) { hub_->Bind(command, std::move(done)); })
        .status();
  };
  EXPECT_EQ(bind("b/s").code(), kDenied);
  EXPECT_TRUE(bind("a/s").ok());
  EXPECT_TRUE(bind("a/s").ok());  // Again.
  command.id = outside_.id;
  EXPECT_EQ(bind("b/s2").code(), kNotFound);
  EXPECT_EQ(bind("a/s2").code(), kNotFound);
}

TEST_F(ReachTest, NoUpdateLeavesIt) {
  auto no_group = std::make_shared<Reach>();
  no_group->filter = Where("NOT groups:secret");
  reach_ = no_group;
  EXPECT_TRUE(AddGroup(inside_, "open").ok());
  EXPECT_EQ(AddGroup(inside_, "secret").code(), kDenied);
  EXPECT_EQ(Get(inside_)->identity->fields().groups,
            std::vector<std::string>{"open"});
  EXPECT_EQ(Get(inside_)->version, 2u);

  BulkUpdateCommand command;
  command.ns = "default";
  command.within = no_group->filter;
  command.predicate = no_group->filter;
  command.add_groups = {"secret"};
  const auto result = *Await<BulkUpdateResult>(
      [&](auto done) { hub_->UpdateFiltered(command, std::move(done)); });
  EXPECT_EQ(result.matched, 2u);
  EXPECT_EQ(result.updated, 0u);
  EXPECT_EQ(result.out_of_reach, 2u);
  EXPECT_EQ(Get(outside_)->version, 1u);
}

TEST_F(ReachTest, CountsAreOfWhatIsReached) {
  using Counts = std::map<std::string, Registry::Counts>;
  const auto counts = *Await<Counts>(
      [&](auto done) { hub_->CountByNamespace(std::move(done), reach_); });
  EXPECT_EQ(counts.size(), 1u);
  EXPECT_EQ(counts.at("default").admitted, 1u);
}

TEST_F(ReachTest, AnAccountIsSentToWithinTheFilter) {
  const Connected other = Connect(2, "a/s3");
  SendCommand command;
  command.ns = "default";
  command.account_id = "a";
  command.frame = Frame::Encode(Opcode::kText, "x");
  const auto matched = [&] {
    return Await<SendTally>(
               [&](auto done) { hub_->Send(command, std::move(done)); })
        ->matched;
  };
  EXPECT_EQ(matched(), 2u);
  command.predicate = Where("token_hash = s3");
  EXPECT_EQ(matched(), 1u);
  EXPECT_EQ(SocketOf(other).sent.size(), 2u);
}

TEST_F(ReachTest, RevocationsOfOthersAreNeitherSeenNorLifted) {
  RevokeCommand mine = ByKey(RevocationTarget::Kind::kAccount, "x");
  mine.target.namespaces = reach_->namespaces;
  mine.target.within = reach_->filter;
  const Uuid my_id = *Revoke(mine)->revocation_id;
  const Uuid other_id =
      *Revoke(ByKey(RevocationTarget::Kind::kAccount, "x"))->revocation_id;
  const auto seen = hub_->ListRevocations(std::nullopt, 0, 10, reach_.get());
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0]->id, my_id);
  const auto lift = [&](const Uuid& id) {
    return Await<FencePtr>([&](auto done) {
             hub_->LiftRevocation(id, std::move(done), reach_.get());
           })
        .status();
  };
  EXPECT_EQ(lift(other_id).code(), kNotFound);
  EXPECT_TRUE(lift(my_id).ok());
  EXPECT_EQ(hub_->ListRevocations(std::nullopt, 0, 10).size(), 1u);
}

}  // namespace
}  // namespace broker::testing
