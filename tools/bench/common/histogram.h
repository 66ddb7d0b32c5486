// Histogram: counts of times, exact to 1 part in 64 over the whole range, in a
// fixed amount of memory.

#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace bench {

class Histogram {
 public:
  void Add(uint64_t value) {
    ++buckets_[IndexOf(value)];
    ++count_;
    if (value > max_) max_ = value;
  }
  void Clear() { *this = Histogram(); }

  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }

  // The value that this share of all is not above, such as 0.99; 0 when there
  // are none.
  uint64_t Quantile(double share) const {
    auto left = static_cast<uint64_t>(share * static_cast<double>(count_));
    for (size_t i = 0; i < buckets_.size(); ++i) {
      if (buckets_[i] > left)
        return UpperBound(i) < max_ ? UpperBound(i) : max_;
      left -= buckets_[i];
    }
    return max_;
  }

 private:
  static constexpr int kBits = 7;
  static constexpr size_t kStep = size_t{1} << kBits;

  // Below kStep each value has its own bucket. Above, the upper kBits bits of a
  // value say which; the lower half of each kStep is then unused.
  static size_t IndexOf(uint64_t value) {
    const int shift = std::bit_width(value | (kStep - 1)) - kBits;
    return static_cast<size_t>(shift) * kStep +
           static_cast<size_t>(value >> shift);
  }
  static uint64_t UpperBound(size_t index) {
    return ((index % kStep + 1) << (index / kStep)) - 1;
  }

  std::array<uint32_t, (64 - kBits + 1) * kStep> buckets_{};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace bench
