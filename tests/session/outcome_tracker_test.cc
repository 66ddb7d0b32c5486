#include "broker/session/outcome_tracker.h"

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

ConnectionId Id() { return Uuid::Make(absl::Now(), 1); }

TEST(OutcomeTrackerTest, NothingQueuedIsAnsweredAtOnce) {
  OutcomeTracker tracker(/*keep_each=*/true);
  bool done = false;
  tracker.Await(0, [&](const OutcomeTracker::Ends& ends) {
    done = true;
    EXPECT_TRUE(ends.each.empty());
  });
  EXPECT_TRUE(done);
}

TEST(OutcomeTrackerTest, CountsAndKeepsEachEnd) {
  OutcomeTracker tracker(/*keep_each=*/true);
  const std::vector<std::pair<ConnectionId, SendOutcome>> ends = {
      {Id(), SendOutcome::kWritten},
      {Id(), SendOutcome::kExpired},
      {Id(), SendOutcome::kDroppedSlow},
      {Id(), SendOutcome::kGone},
      {Id(), SendOutcome::kWritten}};
  int answers = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    EXPECT_EQ(answers, 0);
    tracker.OnEnd(ends[i].first, ends[i].second);
    if (i != 2) continue;
    tracker.Await(ends.size(), [&](const OutcomeTracker::Ends& all) {
      ++answers;
      EXPECT_EQ(all.written, 2u);
      EXPECT_EQ(all.expired, 1u);
      EXPECT_EQ(all.dropped_slow, 1u);
      EXPECT_EQ(all.gone, 1u);
      EXPECT_EQ(all.each, ends);
    });
  }
  EXPECT_EQ(answers, 1);
}

TEST(OutcomeTrackerTest, ShardsTellItAtTheSameTime) {
  constexpr int kThreads = 4, kEach = 2'000;
  for (int round = 0; round < 20; ++round) {
    OutcomeTracker tracker(/*keep_each=*/false);
    std::atomic<int> answers = 0;
    std::vector<std::thread> shards;
    for (int i = 0; i < kThreads; ++i) {
      shards.emplace_back([&] {
        const ConnectionId id = Id();
        for (int n = 0; n < kEach; ++n) {
          tracker.OnEnd(id, n % 2 ? SendOutcome::kWritten : SendOutcome::kGone);
        }
      });
    }
    tracker.Await(kThreads * kEach, [&](const OutcomeTracker::Ends& ends) {
      ++answers;
      EXPECT_EQ(ends.written, kThreads * kEach / 2u);
      EXPECT_EQ(ends.gone, kThreads * kEach / 2u);
      EXPECT_TRUE(ends.each.empty());
    });
    for (std::thread& shard : shards) shard.join();
    EXPECT_EQ(answers, 1);
  }
}

}  // namespace
}  // namespace broker
