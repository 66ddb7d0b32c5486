#include "broker/core/timer_wheel.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace broker {
namespace {

using std::chrono::milliseconds;
constexpr MonotonicTime kStart{std::chrono::hours(5)};

TEST(TimerWheelTest, FiresAtTheDeadlineAndNotBefore) {
  TimerWheel wheel(kStart);
  Timer timer;
  int fired = 0;
  wheel.Arm(timer, kStart + milliseconds(200), [&] { ++fired; });
  EXPECT_TRUE(timer.armed());
  wheel.Advance(kStart + milliseconds(199));
  EXPECT_EQ(fired, 0);
  wheel.Advance(kStart + milliseconds(250));
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(timer.armed());
  EXPECT_TRUE(wheel.idle());
}

TEST(TimerWheelTest, CancelledAndDestroyedTimersDoNotFire) {
  TimerWheel wheel(kStart);
  Timer cancelled;
  auto destroyed = std::make_unique<Timer>();
  wheel.Arm(cancelled, kStart + milliseconds(100), [] { FAIL(); });
  wheel.Arm(*destroyed, kStart + milliseconds(100), [] { FAIL(); });
  cancelled.Cancel();
  cancelled.Cancel();
  destroyed.reset();
  EXPECT_TRUE(wheel.idle());
  wheel.Advance(kStart + std::chrono::hours(1));
}

TEST(TimerWheelTest, DeadlineInThePastFiresAtTheNextTick) {
  TimerWheel wheel(kStart);
  Timer timer;
  int fired = 0;
  wheel.Arm(timer, kStart - std::chrono::hours(1), [&] { ++fired; });
  EXPECT_EQ(fired, 0);
  wheel.Advance(kStart + TimerWheel::kTick);
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheelTest, DeadlinesBeyondOneTurnWait) {
  TimerWheel wheel(kStart);
  Timer timer;
  int fired = 0;
  wheel.Arm(timer, kStart + std::chrono::hours(1), [&] { ++fired; });
  for (int minute = 0; minute < 60; ++minute) {
    EXPECT_EQ(fired, 0) << minute;
    wheel.Advance(kStart + std::chrono::minutes(minute));
  }
  wheel.Advance(kStart + std::chrono::hours(1) + TimerWheel::kTick);
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheelTest, FiresWhatALongSleepMadeDue) {
  TimerWheel wheel(kStart);
  std::vector<Timer> timers(100);
  size_t fired = 0;
  for (size_t i = 0; i < timers.size(); ++i) {
    wheel.Arm(timers[i], kStart + std::chrono::seconds(i * 7),
              [&] { ++fired; });
  }
  wheel.Advance(kStart + std::chrono::hours(24));
  EXPECT_EQ(fired, timers.size());
}

TEST(TimerWheelTest, CallbackMayArmItself) {
  TimerWheel wheel(kStart);
  Timer timer;
  int fired = 0;
  std::function<void()> again = [&] {
    ++fired;
    wheel.Arm(timer, kStart + milliseconds(100 * (fired + 1)), again);
  };
  wheel.Arm(timer, kStart + milliseconds(100), again);
  wheel.Advance(kStart + milliseconds(1000));
  EXPECT_EQ(fired, 10);
  EXPECT_TRUE(timer.armed());
}

TEST(TimerWheelTest, CallbackMayCancelADueOneAndDestroyItself) {
  TimerWheel wheel(kStart);
  auto self = std::make_unique<Timer>();
  Timer other;
  wheel.Arm(*self, kStart + milliseconds(100), [&] {
    other.Cancel();
    self.reset();
  });
  wheel.Arm(other, kStart + milliseconds(100), [] { FAIL(); });
  wheel.Advance(kStart + milliseconds(150));
  EXPECT_EQ(self, nullptr);
  EXPECT_TRUE(wheel.idle());
}

TEST(TimerWheelTest, WakesItsOwnerWhenItStopsBeingIdle) {
  TimerWheel wheel(kStart);
  int woken = 0;
  wheel.OnWake([&] { ++woken; });
  Timer a;
  Timer b;
  wheel.Arm(a, kStart + milliseconds(100), [] {});
  wheel.Arm(b, kStart + milliseconds(100), [] {});
  EXPECT_EQ(woken, 1);
  wheel.Advance(kStart + milliseconds(200));
  wheel.Arm(a, kStart + milliseconds(300), [] {});
  EXPECT_EQ(woken, 2);
}

// A dumb model: a list of deadlines.
TEST(TimerWheelTest, AgreesWithAModel) {
  std::mt19937 random(1);
  const auto pick = [&](int64_t n) {
    return std::uniform_int_distribution<int64_t>(0, n - 1)(random);
  };
  constexpr int kTimers = 50;
  MonotonicTime now = kStart;
  TimerWheel wheel(now);
  std::vector<Timer> timers(kTimers);
  std::vector<std::optional<MonotonicTime>> model(kTimers);
  std::vector<int> fired;

  for (int step = 0; step < 50'000; ++step) {
    const int i = static_cast<int>(pick(kTimers));
    switch (pick(4)) {
      case 0:
      case 1: {
        // Now and then in the past, or many turns ahead.
        const MonotonicTime deadline =
            now +
            milliseconds(pick(20) == 0 ? pick(500'000) : pick(3'000) - 300);
        model[i] = std::max(deadline, now);
        wheel.Arm(timers[i], deadline, [&fired, i] { fired.push_back(i); });
        break;
      }
      case 2:
        model[i].reset();
        timers[i].Cancel();
        break;
      case 3:
        now += milliseconds(pick(50) == 0 ? pick(200'000) : pick(200));
        fired.clear();
        wheel.Advance(now);
        for (const int f : fired) {
          ASSERT_TRUE(model[f].has_value()) << "fired twice, or cancelled";
          ASSERT_LE(*model[f], now) << "too early";
          model[f].reset();
        }
        for (int t = 0; t < kTimers; ++t) {
          ASSERT_EQ(timers[t].armed(), model[t].has_value());
          ASSERT_TRUE(!model[t] || now - *model[t] < TimerWheel::kTick)
              << "too late by " << (now - *model[t]).count() << " ms";
        }
        break;
    }
    ASSERT_EQ(wheel.idle(),
              std::none_of(model.begin(), model.end(),
                           [](auto& m) { return m.has_value(); }));
  }
}

}  // namespace
}  // namespace broker
