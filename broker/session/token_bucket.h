// TokenBucket: so much a second, and at first as much at once as it holds.
//
// Confined to its connection's shard.

#pragma once

#include <algorithm>
#include <chrono>

#include "broker/core/clock.h"

namespace broker {

class TokenBucket {
 public:
  // Full to begin with.
  TokenBucket(double per_second, double size, MonotonicTime now)
      : per_second_(per_second), size_(size), tokens_(size), filled_(now) {}

  // False, and nothing taken: there are not so many.
  bool Take(double tokens, MonotonicTime now) {
    const double seconds = std::chrono::duration<double>(now - filled_).count();
    tokens_ = std::min(size_, tokens_ + seconds * per_second_);
    filled_ = now;
    if (tokens_ < tokens) return false;
    tokens_ -= tokens;
    return true;
  }

 private:
  double per_second_;
  double size_;
  double tokens_;
  MonotonicTime filled_;
};

}  // namespace broker
