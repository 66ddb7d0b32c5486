#include "broker/callout/circuit_breaker.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace broker {
namespace {

using std::chrono::milliseconds;
using Change = CircuitBreaker::Change;
using State = CircuitBreaker::State;

class CircuitBreakerTest : public ::testing::Test {
 protected:
  void Fail(int times) {
    for (int i = 0; i < times; ++i) {
      breaker_.Report(*breaker_.Ask(now_), false, now_);
    }
  }

  MonotonicTime now_{};
  CircuitBreaker breaker_{3, milliseconds(100)};
};

TEST_F(CircuitBreakerTest, FailuresInARowOpenIt) {
  Fail(2);
  EXPECT_EQ(breaker_.Report(*breaker_.Ask(now_), true, now_), Change::kNone);
  Fail(2);
  EXPECT_EQ(breaker_.state(), State::kClosed);
  EXPECT_EQ(breaker_.Report(*breaker_.Ask(now_), false, now_), Change::kOpened);
  EXPECT_FALSE(breaker_.Ask(now_));
  EXPECT_FALSE(breaker_.Ask(now_ + milliseconds(99)));
}

TEST_F(CircuitBreakerTest, OneCallTries) {
  Fail(3);
  now_ += milliseconds(100);
  const auto probe = breaker_.Ask(now_);
  ASSERT_TRUE(probe);
  EXPECT_FALSE(breaker_.Ask(now_)) << "a second one";
  EXPECT_EQ(breaker_.Report(*probe, true, now_), Change::kClosed);
  EXPECT_TRUE(breaker_.Ask(now_));
}

TEST_F(CircuitBreakerTest, AProbeThatFailsOpensItAgain) {
  Fail(3);
  now_ += milliseconds(100);
  EXPECT_EQ(breaker_.Report(*breaker_.Ask(now_), false, now_), Change::kOpened);
  EXPECT_FALSE(breaker_.Ask(now_ + milliseconds(99)));
  EXPECT_TRUE(breaker_.Ask(now_ + milliseconds(100)));
}

TEST_F(CircuitBreakerTest, WhatBeganBeforeChangesNothing) {
  const auto old = breaker_.Ask(now_);
  Fail(3);
  EXPECT_EQ(breaker_.Report(*old, true, now_), Change::kNone);
  EXPECT_EQ(breaker_.state(), State::kOpen);
  now_ += milliseconds(100);
  const auto probe = breaker_.Ask(now_);
  EXPECT_EQ(breaker_.Report(*old, false, now_), Change::kNone);
  EXPECT_EQ(breaker_.Report(*probe, true, now_), Change::kClosed);
}

TEST_F(CircuitBreakerTest, ZeroNeverOpens) {
  CircuitBreaker never(0, milliseconds(100));
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(never.Report(*never.Ask(now_), false, now_), Change::kNone);
  }
}

// Whatever happens, it asks again after the pause, and lets one call try.
TEST_F(CircuitBreakerTest, NeverStaysShut) {
  std::minstd_rand random(7);
  std::vector<CircuitBreaker::Permit> under_way;
  for (int i = 0; i < 100'000; ++i) {
    switch (random() % 3) {
      case 0:
        if (const auto permit = breaker_.Ask(now_))
          under_way.push_back(*permit);
        break;
      case 1:
        if (!under_way.empty()) {
          const size_t one = random() % under_way.size();
          breaker_.Report(under_way[one], random() % 4 == 0, now_);
          under_way.erase(under_way.begin() + static_cast<long>(one));
        }
        break;
      default:
        now_ += milliseconds(random() % 50);
    }
    if (!under_way.empty()) continue;
    // Nobody is under way: a call is let through now, or after the pause.
    const auto permit = breaker_.Ask(now_ + milliseconds(100));
    ASSERT_TRUE(permit);
    under_way.push_back(*permit);
  }
}

}  // namespace
}  // namespace broker
