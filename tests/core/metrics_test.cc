#include "broker/core/metrics.h"

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace broker {
namespace {

TEST(MetricsTest, CounterAndGaugeAdd) {
  Counter counter;
  counter.Add();
  counter.Add(4);
  EXPECT_EQ(counter.value(), 5u);
  Gauge gauge;
  gauge.Add(3);
  gauge.Add(-5);
  EXPECT_EQ(gauge.value(), -2);
}

TEST(MetricsTest, SharedCounterLosesNothing) {
  SharedCounter counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 10'000; ++n) counter.Add();
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(counter.value(), 40'000u);
}

TEST(MetricsTest, CounterIsReadWhileItIsWritten) {
  Counter counter;
  std::thread writer([&] {
    for (int n = 0; n < 10'000; ++n) counter.Add();
  });
  uint64_t last = 0;
  while (last < 10'000) {
    const uint64_t now = counter.value();
    ASSERT_GE(now, last);
    last = now;
  }
  writer.join();
}

TEST(HistogramTest, PutsEachValueInTheBucketThatEndsAtOrAfterIt) {
  Histogram histogram;
  histogram.Observe(0);
  histogram.Observe(1e-5);
  histogram.Observe(1.1e-5);
  histogram.Observe(1e9);
  EXPECT_EQ(histogram.count(0), 2u);
  EXPECT_EQ(histogram.count(1), 1u);
  EXPECT_EQ(histogram.count(Histogram::kBuckets), 1u);
}

TEST(HistogramTest, BoundsAscend) {
  const auto bounds = Histogram::Bounds();
  EXPECT_DOUBLE_EQ(bounds[0], 1e-5);
  for (size_t i = 1; i < bounds.size(); ++i) {
    EXPECT_DOUBLE_EQ(bounds[i], bounds[i - 1] * 2.5);
  }
}

TEST(HistogramTest, SumsSeconds) {
  Histogram histogram;
  histogram.Observe(0.25);
  histogram.Observe(0.5);
  EXPECT_NEAR(histogram.sum_seconds(), 0.75, 1e-6);
}

}  // namespace
}  // namespace broker
