// Counter, Gauge and Histogram: figures that one thread writes and any reads.
//
// The writer pays for a plain add: there is one writer, so no atomic
// read-modify-write is needed. What several threads write is a SharedCounter.

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace broker {

class Counter {
 public:
  void Add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n,
                 std::memory_order_relaxed);
  }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

class Gauge {
 public:
  void Add(int64_t n) {
    value_.store(value_.load(std::memory_order_relaxed) + n,
                 std::memory_order_relaxed);
  }
  void RaiseTo(int64_t least) {
    if (least > value()) value_.store(least, std::memory_order_relaxed);
  }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

class SharedCounter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// Seconds in buckets that each end at 2.5 times the one before, from 10 us.
class Histogram {
 public:
  static constexpr size_t kBuckets = 16;
  static constexpr std::array<double, kBuckets> Bounds() {
    std::array<double, kBuckets> bounds{};
    double bound = 1e-5;
    for (double& b : bounds) {
      b = bound;
      bound *= 2.5;
    }
    return bounds;
  }

  void Observe(double seconds) {
    constexpr auto kBounds = Bounds();
    size_t i = 0;
    while (i < kBuckets && seconds > kBounds[i]) ++i;
    counts_[i].Add();
    sum_ns_.Add(static_cast<uint64_t>(seconds * 1e9));
  }
  // The observations in bucket `i`; the last one has those over every bound.
  uint64_t count(size_t i) const { return counts_[i].value(); }
  double sum_seconds() const {
    return static_cast<double>(sum_ns_.value()) / 1e9;
  }

 private:
  std::array<Counter, kBuckets + 1> counts_;
  Counter sum_ns_;
};

}  // namespace broker
