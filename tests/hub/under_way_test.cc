// Revocations that are on their way to the shards: whatever comes in between,
// over fake sockets.

#include <optional>
#include <random>
#include <thread>

#include "gtest/gtest.h"
#include "tests/fakes/hub_fixture.h"

namespace broker::testing {
namespace {

using Kind = RevocationTarget::Kind;

// The shards close one after another: what is verified meanwhile can be on one
// before its part of the close.
class UnderWayTest : public HubFixture {
 protected:
  // The close is recorded, and no shard has heard of it.
  void BeginClose(RevokeCommand command) {
    hub_->Revoke(std::move(command),
                 [&](auto result) { closed_ = result->closed; });
  }
  void BindNow(const Connected& c, const std::string& who, uint64_t epoch) {
    BindCommand command;
    command.id = c.id;
    command.identity = Who(who);
    command.verified_at_epoch = epoch;
    EXPECT_TRUE(hub_->shards()[c.shard]->Bind(command).ok());
  }
  uint64_t Closed() {
    RunAll();
    return closed_.value();
  }

  std::optional<uint64_t> closed_;
};

TEST_F(UnderWayTest, ACloseByKeySparesLaterLogins) {
  Start();
  const uint64_t before = hub_->epoch();
  const Connected old = Connect(1, "a/s");
  const Connected bound_again = Connect(1, "a/s");
  BeginClose(ByKey(Kind::kAccount, "a"));
  const uint64_t after = hub_->epoch();
  const Connected late = Connect(1, "a/s");
  BindNow(bound_again, "a/s", after);
  BindNow(bound_again, "a/s", before);  // an old answer, repeated
  // It arrives late, and is bound by an old look-up all the same.
  const Connected late_with_old = Connect(1);
  BindNow(late_with_old, "a/s", before);
  EXPECT_EQ(Closed(), 2u);
  EXPECT_TRUE(SocketOf(old).closed);
  EXPECT_TRUE(SocketOf(late_with_old).closed);
  EXPECT_FALSE(SocketOf(late).closed);
  EXPECT_FALSE(SocketOf(bound_again).closed);
}

TEST_F(UnderWayTest, WhatBlocksClosesThemToo) {
  Start();
  RevokeCommand command = ByKey(Kind::kAccount, "a");
  command.block_for = absl::Seconds(60);
  BeginClose(command);
  Connect(1, "a/s");
  EXPECT_EQ(Closed(), 1u);

  command = ByFilter("account_id = b");
  command.fence = true;
  command.block_for = absl::Seconds(1);
  BeginClose(command);
  Connect(2, "b/s");
  Pass(absl::Seconds(2));  // A close is no less one because it is slow.
  EXPECT_EQ(Closed(), 1u);

  BeginClose(ByFilter("account_id = c"));
  Connect(0, "c/s");
  EXPECT_EQ(Closed(), 1u);
}

// It is listed as soon as it is recorded, so that it can be lifted before every
// shard has heard of it.
TEST_F(UnderWayTest, LiftedWhileUnderWayItLeavesNoFence) {
  Start();
  const std::string ticket = Mint(Who("a/s"));
  // Together makes the lift overtake the close on its way to the shards, as a
  // thread of its own may.
  std::optional<absl::StatusOr<RevokeResult>> closed;
  std::optional<absl::StatusOr<FencePtr>> lifted;
  {
    const Hub::Together later(*hub_);
    hub_->Revoke(ByKey(Kind::kAccount, "a"),
                 [&](auto result) { closed = std::move(result); });
    const Uuid id = hub_->ListRevocations(std::nullopt, 0, 1).at(0)->id;
    std::thread([&] {
      hub_->LiftRevocation(id,
                           [&](auto result) { lifted = std::move(result); });
    }).join();
  }
  RunAll();
  ASSERT_TRUE(closed && closed->ok());
  ASSERT_TRUE(lifted && lifted->ok());
  EXPECT_EQ(Knock(ticket), 101);
}

// validate and open are two events, and a revocation may come anywhere around
// them. However the tasks of three shards interleave: once the revocation has
// been answered, whatever was verified before it is closed or refused.
TEST_F(UnderWayTest, NoInterleavingLetsAnOldCredentialThrough) {
  Start();
  std::mt19937 random(7);
  for (int round = 0; round < 2'000; ++round) {
    const std::string who = "a/s" + std::to_string(round);
    struct Arrival {
      size_t shard;
      std::unique_ptr<Handshake> handshake;
      std::optional<Slot> slot;
    };
    std::vector<Arrival> arrivals;
    std::vector<std::string> tickets;
    for (int i = 0; i < 4; ++i) tickets.push_back(Mint(Who(who)));

    bool answered = false;
    bool asked = false;
    while (!answered || !tickets.empty()) {
      const size_t shard = random() % kShards;
      switch (random() % 5) {
        case 0:
          if (!tickets.empty()) {
            HandshakeFacts facts;
            facts.path = "/ws";
            facts.ticket = tickets.back();
            tickets.pop_back();
            auto answer = hub_->shards()[shard]->CheckHandshake(facts);
            if (answer.handshake) {
              arrivals.push_back({shard, std::move(answer.handshake), {}});
            }
          }
          break;
        case 1:
          for (Arrival& a : arrivals) {
            if (a.handshake == nullptr) continue;
            a.slot = transports_[a.shard]->Open(*hub_->shards()[a.shard],
                                                std::move(a.handshake));
            a.handshake.reset();
            break;
          }
          break;
        case 2:
          if (!asked) {
            asked = true;
            hub_->Revoke(ByKey(Kind::kSession, "s" + std::to_string(round)),
                         [&](auto result) { answered = result.ok(); });
          }
          break;
        default:
          transports_[shard]->RunOne();
      }
    }
    for (Arrival& a : arrivals) {
      if (a.handshake != nullptr) {
        a.slot = transports_[a.shard]->Open(*hub_->shards()[a.shard],
                                            std::move(a.handshake));
      }
      EXPECT_TRUE(transports_[a.shard]->sockets.at(*a.slot).closed) << round;
      transports_[a.shard]->Gone(*hub_->shards()[a.shard], *a.slot);
    }
    ASSERT_EQ(Count(), 0u) << round;
  }
}

}  // namespace
}  // namespace broker::testing
