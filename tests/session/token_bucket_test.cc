#include "broker/session/token_bucket.h"

#include "gtest/gtest.h"

namespace broker {
namespace {

using std::chrono::milliseconds;

TEST(TokenBucketTest, IsFullAtFirstThenFillsAtItsRate) {
  const MonotonicTime start{milliseconds(1'000)};
  TokenBucket bucket(10, 5, start);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(bucket.Take(1, start));
  EXPECT_FALSE(bucket.Take(1, start));
  EXPECT_FALSE(bucket.Take(1, start + milliseconds(50)));
  EXPECT_TRUE(bucket.Take(1, start + milliseconds(100)));
  EXPECT_FALSE(bucket.Take(1, start + milliseconds(100)));
}

TEST(TokenBucketTest, HoldsNoMoreThanItsSize) {
  const MonotonicTime start{milliseconds(0)};
  TokenBucket bucket(10, 5, start);
  const MonotonicTime later = start + std::chrono::hours(1);
  EXPECT_FALSE(bucket.Take(6, later));
  EXPECT_TRUE(bucket.Take(5, later)) << "what could not be had was not taken";
  EXPECT_FALSE(bucket.Take(1, later));
}

// Whoever sends at twice the rate is found out after a second, and whoever
// sends at the rate never is.
TEST(TokenBucketTest, TwiceTheRateIsFoundOutInASecond) {
  const MonotonicTime start{milliseconds(0)};
  TokenBucket at_rate(100, 100, start);
  TokenBucket twice(100, 100, start);
  bool found = false;
  for (int ms = 0; ms <= 1'000; ms += 5) {
    const MonotonicTime now = start + milliseconds(ms);
    found = found || !twice.Take(1, now);
    if (ms % 10 == 0) EXPECT_TRUE(at_rate.Take(1, now)) << ms;
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace broker
