// What crosses shards: totals, order, pages, and the end of the broker.

#include "broker/hub/hub.h"

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "gtest/gtest.h"
#include "tests/fakes/hub_fixture.h"

namespace broker::testing {
namespace {

class HubTest : public HubFixture {};

TEST_F(HubTest, BroadcastsReachWhatMatchesOnEveryShard) {
  Start();
  std::vector<Connected> all;
  for (size_t i = 0; i < 9; ++i) {
    all.push_back(Connect(i % kShards, absl::StrCat("a", i % 2, "/s", i)));
  }
  const auto tally = Send("account_id = a0", "hello", true);
  EXPECT_EQ(tally->matched, 5u);
  EXPECT_EQ(tally->queued, 5u);
  EXPECT_EQ(tally->outcomes.size(), 5u);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(SocketOf(all[i]).sent.size(), i % 2 == 0 ? 1u : 0u) << i;
  }
  EXPECT_EQ(Send("account_id = nobody", "hello")->matched, 0u);
  EXPECT_EQ(Send("", "hello")->matched, 9u);
  EXPECT_EQ(Send("NOT token_hash = s1", "hello")->matched, 8u);
  EXPECT_EQ(SocketOf(all[0]).sent[0], SocketOf(all[0]).sent[1]);
}

TEST_F(HubTest, ExcludedConnectionsAreLeftOut) {
  Start();
  const Connected a = Connect(0, "a/s");
  const Connected b = Connect(1, "a/s");
  for (const bool to_account : {false, true}) {
    SendCommand command;
    command.ns = "default";
    command.predicate = Predicate::All();
    if (to_account) command.account_id = "a";
    command.frame = Frame::Encode(Opcode::kText, "x");
    command.exclude.insert(a.id);
    const auto tally = Await<SendTally>(
        [&](auto done) { hub_->Send(command, std::move(done)); });
    EXPECT_EQ(tally->matched, 1u);
  }
  EXPECT_TRUE(SocketOf(a).sent.empty());
  EXPECT_EQ(SocketOf(b).sent.size(), 2u);
}

TEST_F(HubTest, ToOneConnection) {
  Start();
  const Connected admitted = Connect(2, "a/s");
  const Connected pending = Connect(1);
  const Outgoing message{Frame::Encode(Opcode::kText, "x"), absl::OkStatus()};
  const auto send = [&](const ConnectionId& id) {
    return Await<SendOutcome>(
        [&](auto done) { hub_->SendTo(id, message, std::move(done)); });
  };
  EXPECT_TRUE(send(admitted.id).ok());
  EXPECT_EQ(GetErrorReason(send(pending.id).status()).reason,
            "CONNECTION_PENDING");
  EXPECT_EQ(send(Uuid::Make(absl::Now(), 200)).status().code(),
            absl::StatusCode::kNotFound);
  CloseAccount("a");
  EXPECT_EQ(send(admitted.id).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(HubTest, OutcomesAreRefusedWhenTheyAreTooMany) {
  Start();
  for (uint64_t i = 0; i <= SendTally::kMaxOutcomes; ++i) {
    Connect(0, absl::StrCat("a", i));
  }
  const auto refused = Send("", "x", /*include_outcomes=*/true);
  EXPECT_EQ(GetErrorReason(refused.status()).reason, "TOO_MANY_OUTCOMES");
  for (const auto& [slot, socket] : transports_[0]->sockets) {
    ASSERT_TRUE(socket.sent.empty());
  }
  EXPECT_EQ(Send("", "x")->matched, SendTally::kMaxOutcomes + 1);
}

TEST_F(HubTest, ListsInOrderOverShards) {
  Start();
  std::vector<ConnectionId> expected;
  for (size_t i = 0; i < 10; ++i) {
    expected.push_back(Connect(i % kShards, "a/s").id);
    clock_.Advance(absl::Milliseconds(1));
  }
  std::vector<ConnectionId> listed;
  while (true) {
    ListCommand command;
    command.ns = "default";
    command.predicate = Predicate::All();
    command.limit = 3;
    if (!listed.empty()) command.after = listed.back();
    const auto page = Await<std::vector<ConnectionInfoPtr>>(
        [&](auto done) { hub_->List(command, std::move(done)); });
    if (page->empty()) break;
    for (const auto& info : *page) listed.push_back(info->id);
  }
  EXPECT_EQ(listed, expected);
}

TEST_F(HubTest, BulkUpdatesChangeWhatMatchesAndKeepLimits) {
  Start();
  const Connected a = Connect(0, "a/s");
  const Connected b = Connect(1, "b/s");
  Connect(2);  // pending, without an identity: not matched
  BulkUpdateCommand command;
  command.ns = "default";
  command.predicate = Predicate::All();
  command.add_groups = {"g1", "g2"};
  command.set_labels = {{"k", "v"}};
  const auto update = [&] {
    return *Await<BulkUpdateResult>(
        [&](auto done) { hub_->UpdateFiltered(command, std::move(done)); });
  };
  EXPECT_EQ(update().matched, 2u);
  EXPECT_EQ(Get(a)->identity->fields().groups,
            (std::vector<std::string>{"g1", "g2"}));
  EXPECT_EQ(Get(a)->version, 2u);
  EXPECT_EQ(update().updated, 0u);
  command.predicate = Where("account_id = b");
  command.add_groups.clear();
  command.set_labels.clear();
  command.remove_groups = {"g1"};
  command.unset_labels = {"k"};
  EXPECT_EQ(update().updated, 1u);
  EXPECT_EQ(Get(b)->identity->fields().groups, std::vector<std::string>{"g2"});
  EXPECT_TRUE(Get(b)->identity->fields().labels.empty());
  command.add_groups.clear();
  for (int i = 0; i < 128; ++i) command.add_groups.push_back(absl::StrCat(i));
  EXPECT_EQ(update().over_limit, 1u);
}

TEST_F(HubTest, WhatIsAskedTogetherIsOneTaskInOrder) {
  Start();
  const Connected one = Connect(0, "a/s");
  RunAll();
  std::vector<std::string> answers;
  {
    Hub::Together together(*hub_);
    for (const char* text : {"1", "2"}) {
      SendCommand command;
      command.ns = "default";
      command.account_id = "a";
      command.frame = Frame::Encode(Opcode::kText, text);
      hub_->Send(std::move(command), [&, text](auto tally) {
        EXPECT_TRUE(tally.ok());
        answers.emplace_back(text);
      });
    }
    hub_->Remove(one.id, [&](auto removed) {
      EXPECT_TRUE(removed.ok());
      answers.emplace_back("removed");
    });
    EXPECT_FALSE(transports_[0]->RunOne()) << "nothing is posted yet";
  }
  EXPECT_TRUE(transports_[0]->RunOne());
  EXPECT_FALSE(transports_[0]->RunOne()) << "it was one task";
  EXPECT_EQ(SocketOf(one).sent.size(), 2u);
  EXPECT_TRUE(SocketOf(one).closed);
  RunAll();
  EXPECT_EQ(answers, (std::vector<std::string>{"removed", "1", "2"}))
      << "the removal needed one shard, the sends all of them";

  // Behind it everything is as before.
  hub_->Remove(one.id, [](auto) {});
  EXPECT_TRUE(transports_[0]->RunOne());
}

TEST_F(HubTest, CommandsOfAnEndedShardAreUnavailable) {
  Start();
  std::optional<absl::Status> of_all, of_one;
  hub_->Count("default", Predicate::All(),
              [&](absl::StatusOr<uint64_t> r) { of_all = r.status(); });
  hub_->Remove(Uuid::Make(absl::Now(), 1),
               [&](absl::StatusOr<bool> r) { of_one = r.status(); });
  for (auto& t : transports_) t->DropTasks();
  ASSERT_TRUE(of_all && of_one);
  EXPECT_EQ(of_all->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(of_one->code(), absl::StatusCode::kUnavailable);
}

TEST_F(HubTest, ReloadChangesNewHandshakes) {
  Start();
  EXPECT_EQ(Connect(0, "", "/other").slot, FakeTransport::kRefused);
  EXPECT_EQ(transports_[0]->last_refusal, 404);
  Settings settings = DefaultSettings();
  settings.endpoints.push_back(settings.endpoints[0]);
  settings.endpoints[1].path = "/other";
  hub_->Reload(std::make_shared<const Settings>(settings));
  RunAll();
  EXPECT_NE(Connect(0, "", "/other").slot, FakeTransport::kRefused);
}

}  // namespace
}  // namespace broker::testing
