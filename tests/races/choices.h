// Choices: every decision of a simulated run, from a seed or from a recording.
//
// A recording can be cut and played again: so a failing run is made smaller.

#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace broker::races {

class Choices {
 public:
  // Random, and always the same for the same seed.
  explicit Choices(uint64_t seed) : state_(seed) {}
  // Those of a recording; behind its end, the first of all that may be chosen.
  explicit Choices(std::vector<uint32_t> recorded)
      : replaying_(true), drawn_(std::move(recorded)) {}

  // One of 0 to n - 1.
  size_t Below(size_t n) { return (uint64_t{Draw()} * n) >> 32; }
  bool OneIn(size_t n) { return Below(n) == n - 1; }

  const std::vector<uint32_t>& drawn() const { return drawn_; }

 private:
  uint32_t Draw() {
    if (replaying_) return next_ < drawn_.size() ? drawn_[next_++] : 0;
    // SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
    // generators, 2014).
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    drawn_.push_back(static_cast<uint32_t>((z ^ (z >> 31)) >> 32));
    return drawn_.back();
  }

  uint64_t state_ = 0;
  bool replaying_ = false;
  size_t next_ = 0;
  std::vector<uint32_t> drawn_;
};

}  // namespace broker::races
