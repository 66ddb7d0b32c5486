#include "broker/hub/watch.h"

#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "gtest/gtest.h"
#include "tests/fakes/hub_fixture.h"

namespace broker::testing {
namespace {

using Kind = WatchEvent::Kind;

class WatchTest : public HubFixture {
 protected:
  WatchSpec Spec(const std::string& filter = "",
                 States states = States::All()) {
    WatchSpec spec;
    spec.ns = "default";
    spec.predicate = filter.empty() ? Predicate::All() : Where(filter);
    spec.states = states;
    return spec;
  }
  // Everything that the feed has now, as words; keeps the last positions.
  std::vector<std::string> Read(WatchFeed& feed) {
    RunAll();
    std::vector<std::string> words;
    while (true) {
      const WatchFeed::Item item = feed.Next();
      if (item.end) words.push_back(item.end->ToString());
      if (!item.event) break;
      if (!item.positions.empty()) positions_ = item.positions;
      words.push_back(Word(*item.event));
    }
    return words;
  }
  static std::string Word(const WatchEvent& e) {
    static const std::map<Kind, std::string> kNames = {
        {Kind::kAdded, "+"},
        {Kind::kUpdated, "~"},
        {Kind::kClosed, "-"},
        {Kind::kLeftFilter, "<"},
        {Kind::kSnapshotEnd, "END"}};
    std::string word = kNames.at(e.kind);
    if (e.info == nullptr) return word;
    static const std::map<ConnectionState, std::string> kStates = {
        {ConnectionState::kPending, ":P"},
        {ConnectionState::kAdmitted, ":A"},
        {ConnectionState::kClosing, ":C"}};
    absl::StrAppend(&word,
                    e.info->identity ? e.info->identity->account_id() : "?",
                    kStates.at(e.info->state));
    if (e.kind == Kind::kClosed) absl::StrAppend(&word, " ", e.close_code);
    return word;
  }

  std::vector<uint64_t> positions_;
};

using Words = std::vector<std::string>;

TEST_F(WatchTest, SnapshotThenItsEndThenChanges) {
  Start();
  const Connected a = Connect(0, "a/s");
  auto feed = hub_->Watch(Spec());
  EXPECT_EQ(Read(*feed), (Words{"+a:A", "END"}));
  const Connected p = Connect(1);
  ASSERT_TRUE(Bind(p, "b/s").ok());
  CloseAccount("a");
  Gone(a);
  EXPECT_EQ(Read(*feed), (Words{"+?:P", "~b:P", "~b:A", "~a:C", "-a:C 4001"}));
}

TEST_F(WatchTest, WhatLeavesTheFilterIsRemoved) {
  Start();
  auto feed = hub_->Watch(Spec("", {ConnectionState::kPending}));
  EXPECT_EQ(Read(*feed), Words{"END"});
  const Connected c = Connect(0);
  ASSERT_TRUE(Bind(c, "a/s").ok());
  EXPECT_EQ(Read(*feed), (Words{"+?:P", "~a:P", "<a:A"}));

  auto beta = hub_->Watch(Spec("groups:beta"));
  EXPECT_EQ(Read(*beta), Words{"END"});
  UpdateCommand update;
  update.id = c.id;
  update.groups = {std::string("beta")};
  const auto run = [&] {
    return Await<ConnectionInfoPtr>(
        [&](auto done) { hub_->Update(update, std::move(done)); });
  };
  ASSERT_TRUE(run().ok());
  update.groups->clear();
  ASSERT_TRUE(run().ok());
  EXPECT_EQ(Read(*beta), (Words{"+a:A", "<a:A"}));
}

TEST_F(WatchTest, ResumesBehindItsToken) {
  Start();
  auto feed = hub_->Watch(Spec());
  EXPECT_EQ(Read(*feed), Words{"END"});
  Connect(0, "a/s");
  EXPECT_EQ(Read(*feed), Words{"+a:A"});
  const std::vector<uint64_t> positions = positions_;
  feed->Cancel();
  Connect(1, "b/s");
  Connect(0, "c/s");
  auto resumed = hub_->WatchFrom(Spec(), positions);
  Words words = Read(*resumed);
  std::sort(words.begin(), words.end());
  EXPECT_EQ(words, (Words{"+b:A", "+c:A"}));
  Connect(2, "d/s");
  EXPECT_EQ(Read(*resumed), Words{"+d:A"});
}

TEST_F(WatchTest, ATokenOlderThanIsKeptIsOutOfRange) {
  Start();
  auto feed = hub_->Watch(Spec());
  EXPECT_EQ(Read(*feed), Words{"END"});
  const std::vector<uint64_t> positions = positions_;
  for (size_t i = 0; i <= WatchLog::kMaxKept / 2; ++i) Gone(Connect(0, "a"));
  auto resumed = hub_->WatchFrom(Spec(), positions);
  RunAll();
  WatchFeed::Item item = resumed->Next();
  while (item.event) item = resumed->Next();
  ASSERT_TRUE(item.end.has_value());
  EXPECT_EQ(item.end->code(), absl::StatusCode::kOutOfRange);
}

TEST_F(WatchTest, AReaderTooFarBehindIsAborted) {
  Start();
  auto feed = hub_->Watch(Spec());
  EXPECT_EQ(Read(*feed), Words{"END"});
  for (size_t i = 0; i < WatchFeed::kMaxUnread / 2; ++i) Gone(Connect(0, "a"));
  EXPECT_FALSE(feed->cancelled());
  Connect(0, "a");
  EXPECT_TRUE(feed->cancelled());
  const Words words = Read(*feed);
  EXPECT_EQ(words.size(), WatchFeed::kMaxUnread + 1);
  EXPECT_NE(words.back().find("ABORTED"), std::string::npos);
}

TEST_F(WatchTest, EventsDuringTheSnapshotFollowItsEnd) {
  Start();
  Connect(2, "c/s");
  auto feed = hub_->Watch(Spec());
  transports_[0]->Run();  // this shard has given its part
  Connect(0, "a/s");      // live, before the snapshot is complete
  EXPECT_EQ(Read(*feed), (Words{"+c:A", "END", "+a:A"}));
}

TEST_F(WatchTest, ADrainEndsTheFeed) {
  Start();
  auto feed = hub_->Watch(Spec());
  EXPECT_EQ(Read(*feed), Words{"END"});
  hub_->Drain(absl::ZeroDuration(), [] {});
  const Words words = Read(*feed);
  ASSERT_EQ(words.size(), 1u);
  EXPECT_NE(words[0].find("UNAVAILABLE"), std::string::npos);
}

TEST_F(WatchTest, NotifiesOnceWhenThereIsSomething) {
  Start();
  auto feed = hub_->Watch(Spec());
  EXPECT_EQ(Read(*feed), Words{"END"});
  int ready = 0;
  feed->NotifyWhenReady([&] { ++ready; });
  EXPECT_EQ(ready, 0);
  Connect(0, "a/s");
  Connect(0, "b/s");
  EXPECT_EQ(ready, 1);
  feed->NotifyWhenReady([&] { ++ready; });
  EXPECT_EQ(ready, 2);
}

// Whoever applies the events of a watch to a map has, at any time, exactly the
// connections that a look finds.
TEST_F(WatchTest, FollowingAWatchGivesWhatALookGives) {
  Start();
  std::mt19937 random(11);
  auto feed = hub_->Watch(Spec(
      "groups:g", {ConnectionState::kPending, ConnectionState::kAdmitted}));
  std::map<ConnectionId, uint64_t> followed;
  std::vector<Connected> open;
  for (int step = 0; step < 3'000; ++step) {
    switch (random() % 5) {
      case 0:
        open.push_back(Connect(random() % kShards));
        break;
      case 1:
        open.push_back(Connect(random() % kShards, "a/s"));
        break;
      case 2:
        if (!open.empty()) (void)Bind(open[random() % open.size()], "b/s");
        break;
      case 3:
        if (!open.empty()) {
          UpdateCommand update;
          update.id = open[random() % open.size()].id;
          update.groups.emplace();
          if (random() % 2 == 0) update.groups->push_back("g");
          (void)Await<ConnectionInfoPtr>(
              [&](auto done) { hub_->Update(update, std::move(done)); });
        }
        break;
      default:
        if (!open.empty()) {
          const size_t i = random() % open.size();
          Gone(open[i]);
          open.erase(open.begin() + static_cast<ptrdiff_t>(i));
        }
    }
    if (step % 10 != 0) continue;
    RunAll();
    for (auto item = feed->Next(); item.event; item = feed->Next()) {
      const WatchEvent& e = *item.event;
      if (e.kind == Kind::kSnapshotEnd) continue;
      if (e.kind == Kind::kAdded || e.kind == Kind::kUpdated) {
        EXPECT_EQ(e.kind == Kind::kAdded, followed.count(e.info->id) == 0);
        followed[e.info->id] = e.info->version;
      } else {
        EXPECT_EQ(followed.erase(e.info->id), 1u);
      }
    }
    ListCommand list;
    list.ns = "default";
    list.predicate = Where("groups:g");
    list.states = States::Open();
    list.limit = 1'000'000;
    std::map<ConnectionId, uint64_t> looked;
    const auto page = Await<std::vector<ConnectionInfoPtr>>(
        [&](auto done) { hub_->List(list, std::move(done)); });
    for (const auto& info : *page) {
      looked[info->id] = info->version;
    }
    ASSERT_EQ(followed, looked) << step;
  }
}

}  // namespace
}  // namespace broker::testing
