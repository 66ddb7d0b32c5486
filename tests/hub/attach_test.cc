// Attached services, over fake sockets: who is offered which handshake, and
// what is told of connections.

#include <string>
#include <vector>

#include "broker/core/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/hub_fixture.h"

namespace broker::testing {
namespace {

using Cause = Ending::Cause;
using Kind = AttachFeed::Item::Kind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class AttachTest : public HubFixture {
 protected:
  void Begin() {
    Settings settings;
    settings.endpoints.emplace_back();
    settings.endpoints[0].allow_attach = true;
    Start(std::move(settings));
  }

  AttachFeedPtr Attach(uint64_t handshakes, const std::string& events = "",
                       uint64_t event_credit = 1000) {
    AttachSpec spec;
    spec.ns = "default";
    spec.handshakes = true;
    if (!events.empty()) {
      spec.events = events == "*" ? Predicate::All() : Where(events);
    }
    auto feed = std::make_shared<AttachFeed>(std::move(spec));
    feed->AddEventCredit(event_credit);
    return HubFixture::Attach(std::move(feed), handshakes);
  }

  // What a feed has to tell, in words.
  std::vector<std::string> Told(const AttachFeedPtr& feed) {
    std::vector<std::string> told;
    for (;;) {
      AttachFeed::Next next = feed->TakeNext();
      if (next.skipped > 0) hub_->AddHandshakeCredit(feed, next.skipped);
      if (next.end) told.push_back(GetErrorReason(*next.end).reason);
      if (!next.item) return told;
      const AttachFeed::Item& item = *next.item;
      switch (item.kind) {
        case Kind::kStarted:
          told.push_back("started");
          break;
        case Kind::kOffer:
          offer_ = item;
          told.push_back("offer");
          break;
        case Kind::kAdmitted:
          told.push_back("admitted " +
                         std::string(item.info->identity->account_id()));
          break;
        case Kind::kUpdated:
          told.push_back("updated");
          break;
        case Kind::kClosed:
          closed_ = item;
          told.push_back("closed");
          break;
        case Kind::kMessage:
        case Kind::kCancelled:
        case Kind::kReport:
          ADD_FAILURE() << "nobody asked for messages";
          break;
      }
    }
  }

  AttachFeed::Item offer_;   // the newest
  AttachFeed::Item closed_;  // the newest
};

TEST_F(AttachTest, WithoutAServiceTheUpgradeIsRefused) {
  Begin();
  EXPECT_EQ(Connect(0).slot, FakeTransport::kRefused);
  EXPECT_EQ(transports_[0]->last_refusal, 503);
  const auto feed = Attach(0);
  EXPECT_NE(Connect(0).slot, FakeTransport::kRefused);
  Leave(feed);
  EXPECT_EQ(Connect(0).slot, FakeTransport::kRefused);
}

TEST_F(AttachTest, WithManualBesideItWaits) {
  Settings settings = DefaultSettings();
  settings.endpoints[0].allow_attach = true;
  Start(settings);
  const Connected c = Connect(1);
  EXPECT_NE(c.slot, FakeTransport::kRefused);
  const auto feed = Attach(1);
  EXPECT_THAT(Told(feed), ElementsAre("offer"));
  EXPECT_TRUE(Bind(c, "a").ok());
}

TEST_F(AttachTest, AnOfferIsAnsweredByABinding) {
  Begin();
  const auto feed = Attach(5);
  const Connected c = Connect(1);
  ASSERT_THAT(Told(feed), ElementsAre("offer"));
  EXPECT_EQ(offer_.handshake->info->id, c.id);
  EXPECT_EQ(offer_.handshake->facts.path, "/ws");
  ASSERT_TRUE(Bind(c, "a").ok());
  EXPECT_EQ(Get(c)->state, ConnectionState::kAdmitted);
  Pass(absl::Seconds(9));
  EXPECT_THAT(Told(feed), IsEmpty()) << "it is offered once more";
  EXPECT_EQ(hub_->offer_figures().waiting, 0u);
  // A refusal comes too late.
  hub_->RefuseHandshake(feed, offer_.offer_id, "no");
  RunAll();
  EXPECT_FALSE(SocketOf(c).closed);
}

TEST_F(AttachTest, AHeldOneIsAnsweredToo) {
  Begin();
  const auto feed = Attach(5);
  const Connected c = Connect(1);
  Told(feed);
  ASSERT_TRUE(Bind(c, "a", /*hold=*/true).ok());
  EXPECT_EQ(hub_->offer_figures().waiting, 0u);
}

TEST_F(AttachTest, ARefusalCloses4006WithItsReason) {
  Begin();
  const auto feed = Attach(5, "*");
  const Connected c = Connect(2);
  Told(feed);
  hub_->RefuseHandshake(feed, offer_.offer_id, "log in first");
  RunAll();
  EXPECT_EQ(SocketOf(c).code, CloseCode::kNotAdmitted);
  EXPECT_EQ(SocketOf(c).reason, "log in first");
  EXPECT_THAT(Told(feed), ElementsAre("closed"));
  EXPECT_EQ(closed_.ending.cause, Cause::kNotAdmitted);
  EXPECT_EQ(closed_.ending.code, 4006);
  EXPECT_EQ(closed_.ending.reason, "log in first");
}

TEST_F(AttachTest, UnansweredItGoesToTheNextWithItsEpoch) {
  Begin();
  const auto a = Attach(5);
  const Connected c = Connect(0);
  ASSERT_THAT(Told(a), ElementsAre("offer"));
  const auto first = offer_;
  const auto b = Attach(5);
  CloseAccount("somebody");  // a later epoch
  Pass(absl::Seconds(4.9));
  EXPECT_THAT(Told(b), IsEmpty());
  Pass(absl::Seconds(0.2));
  ASSERT_THAT(Told(b), ElementsAre("offer"));
  EXPECT_THAT(Told(a), IsEmpty());
  EXPECT_NE(offer_.offer_id, first.offer_id);
  EXPECT_EQ(offer_.handshake->info->epoch, first.handshake->info->epoch);
  EXPECT_LT(offer_.handshake->info->epoch, hub_->epoch());
  // What the first says of it counts no more, but it may still bind.
  hub_->RefuseHandshake(a, first.offer_id, "no");
  RunAll();
  EXPECT_FALSE(SocketOf(c).closed);
  EXPECT_TRUE(Bind(c, "a").ok());
  const auto late = Bind(c, "b");
  EXPECT_EQ(GetErrorReason(late.status()).reason, "ALREADY_BOUND");
  EXPECT_EQ(hub_->offer_figures().expired, 1u);
}

TEST_F(AttachTest, ThePendingTimeEndsAllOfIt) {
  Begin();
  const auto feed = Attach(5);
  const Connected c = Connect(0);
  Pass(absl::Seconds(5));
  EXPECT_THAT(Told(feed), ElementsAre("offer", "offer"));
  Pass(absl::Seconds(5));
  EXPECT_EQ(SocketOf(c).code, CloseCode::kNotAdmitted);
  EXPECT_EQ(hub_->offer_figures().waiting, 0u);
}

TEST_F(AttachTest, WhoLeavesIsReplacedAtOnceAndTheTimeBeginsAgain) {
  Begin();
  const auto a = Attach(5);
  const Connected c = Connect(2);
  Told(a);
  const auto b = Attach(5), d = Attach(5);
  Pass(absl::Seconds(3));
  Leave(a);
  const bool to_b = !Told(b).empty();
  EXPECT_NE(to_b, !Told(d).empty()) << "one of them";
  Pass(absl::Seconds(4));
  EXPECT_THAT(Told(to_b ? d : b), IsEmpty()) << "the time of the first offer";
  Pass(absl::Seconds(1.1));
  EXPECT_THAT(Told(to_b ? d : b), ElementsAre("offer"));
  EXPECT_TRUE(Bind(c, "a").ok());
}

TEST_F(AttachTest, CreditSaysHowMany) {
  Begin();
  const auto feed = Attach(1);
  Connect(0);
  const Connected second = Connect(1);
  EXPECT_THAT(Told(feed), ElementsAre("offer"));
  hub_->AddHandshakeCredit(feed, 1);
  RunAll();
  EXPECT_THAT(Told(feed), ElementsAre("offer"));
  EXPECT_EQ(offer_.handshake->info->id, second.id);
  // Its time has begun, on its shard.
  hub_->AddHandshakeCredit(feed, 5);
  Pass(absl::Seconds(5));
  EXPECT_THAT(Told(feed), ElementsAre("offer", "offer"));
}

TEST_F(AttachTest, WhatIsAnsweredBeforeItIsReadCostsNothing) {
  Begin();
  const auto feed = Attach(1, "*");
  const Connected c = Connect(0);
  Gone(c);
  EXPECT_THAT(Told(feed), ElementsAre("closed"));
  RunAll();
  Connect(1);
  EXPECT_THAT(Told(feed), ElementsAre("offer"));
}

TEST_F(AttachTest, ARevocationMeanwhileRefusesTheBinding) {
  Begin();
  const auto feed = Attach(1);
  const Connected c = Connect(0);
  Told(feed);
  CloseAccount("a");
  const auto bound = Bind(c, "a");
  EXPECT_EQ(GetErrorReason(bound.status()).reason, "CREDENTIAL_REVOKED");
}

TEST_F(AttachTest, EventsInOrder) {
  Begin();
  const auto feed = Attach(5, "account_id = \"a\"");
  const Connected c = Connect(0);
  const Connected other = Connect(1);
  Told(feed);
  ASSERT_TRUE(Bind(c, "a/s").ok());
  ASSERT_TRUE(Bind(other, "b").ok());
  UpdateCommand update;
  update.id = c.id;
  update.groups = std::vector<std::string>{"g"};
  ASSERT_TRUE(Await<ConnectionInfoPtr>([&](auto done) {
                hub_->Update(update, std::move(done));
              }).ok());
  CloseAccount("a");
  EXPECT_THAT(Told(feed), ElementsAre("admitted a", "updated", "closed"));
  EXPECT_EQ(closed_.info->identity->token_hash(), "s");
  EXPECT_EQ(closed_.ending.cause, Cause::kRevoked);
  EXPECT_EQ(closed_.ending.code, 4001);
  EXPECT_EQ(closed_.ending.reason, "Session revoked");
  Gone(c);
  EXPECT_THAT(Told(feed), IsEmpty()) << "it was closed already";
}

TEST_F(AttachTest, AnUpdateOutOfTheFilterIsTold) {
  Begin();
  const auto feed = Attach(5, "groups:\"g\"");
  const Connected c = Connect(0, "a");
  UpdateCommand update;
  update.id = c.id;
  for (const auto& groups : {std::vector<std::string>{"g"}, {}}) {
    update.groups = groups;
    ASSERT_TRUE(Await<ConnectionInfoPtr>([&](auto done) {
                  hub_->Update(update, std::move(done));
                }).ok());
    EXPECT_THAT(Told(feed), ElementsAre("updated"));
  }
}

TEST_F(AttachTest, TheCauseOfEveryEnd) {
  Begin();
  const auto feed = Attach(5, "*");
  const auto end = [&](auto how) {
    const Connected c = Connect(0, "a");
    how(*hub_->shards()[0], c);
    RunAll();
    EXPECT_THAT(Told(feed), ElementsAre("admitted a", "closed"));
    return std::pair(closed_.ending.cause, closed_.ending.code);
  };
  using Pair = std::pair<Cause, uint16_t>;
  EXPECT_EQ(end([](Shard& s, auto& c) { s.Remove(c.id); }),
            Pair(Cause::kRemoved, 1000));
  EXPECT_EQ(end([](Shard& s, auto& c) { s.OnClosing(c.slot, 1001); }),
            Pair(Cause::kClient, 1001));
  EXPECT_EQ(end([this](Shard&, auto& c) { Gone(c); }),
            Pair(Cause::kLost, 1006));
  EXPECT_EQ(end([](Shard& s, auto& c) { s.OnHeartbeatTimeout(c.slot); }),
            Pair(Cause::kHeartbeat, 4003));
  EXPECT_EQ(end([](Shard& s, auto& c) { s.OnSlowConsumer(c.slot); }),
            Pair(Cause::kSlow, 4008));
  EXPECT_EQ(end([](Shard& s, auto& c) { s.OnPingFlood(c.slot); }),
            Pair(Cause::kPolicy, 1008));
}

TEST_F(AttachTest, ADrainIsToldToTheEnd) {
  Begin();
  const auto feed = Attach(5, "*");
  const Connected c = Connect(0, "a");
  Told(feed);
  bool drained = false;
  hub_->Drain(absl::ZeroDuration(), [&] { drained = true; });
  RunAll();
  EXPECT_THAT(Told(feed), ElementsAre("closed"));
  EXPECT_EQ(closed_.ending.cause, Cause::kDrain);
  EXPECT_FALSE(drained);
  Gone(c);
  EXPECT_TRUE(drained);
  EXPECT_TRUE(absl::IsUnavailable(*feed->TakeNext().end));
  const auto late = std::make_shared<AttachFeed>(
      AttachSpec{"default", true, std::nullopt, nullptr, nullptr});
  hub_->Attach(late, 1);
  EXPECT_TRUE(absl::IsUnavailable(*late->TakeNext().end));
}

TEST_F(AttachTest, EventsWaitForCreditAndNotForever) {
  Begin();
  const auto feed = Attach(0, "*", /*event_credit=*/0);
  const Connected c = Connect(0, "a");
  EXPECT_THAT(Told(feed), IsEmpty());
  feed->AddEventCredit(1);
  EXPECT_THAT(Told(feed), ElementsAre("admitted a"));
  UpdateCommand update;
  update.id = c.id;
  for (size_t i = 0; i <= AttachFeed::kMaxUnread; ++i) {
    EXPECT_THAT(Told(feed), IsEmpty());
    update.groups = std::vector<std::string>{std::to_string(i % 2)};
    hub_->Update(update, [](const auto& r) { EXPECT_TRUE(r.ok()); });
    RunAll();
  }
  EXPECT_THAT(Told(feed), ElementsAre("EVENTS_LOST"));
}

TEST_F(AttachTest, WhoLeavesBeforeItIsAttachedIsNobody) {
  Begin();
  const auto feed = std::make_shared<AttachFeed>(
      AttachSpec{"default", true, std::nullopt, nullptr, nullptr});
  hub_->Attach(feed, 5);
  feed->Cancel();
  hub_->Detach(feed);
  RunAll();
  EXPECT_EQ(hub_->offer_figures().services, 0u);
  EXPECT_EQ(Connect(0).slot, FakeTransport::kRefused);
}

}  // namespace
}  // namespace broker::testing
