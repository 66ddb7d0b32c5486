// What the fuzzers have in common: how a property is held, and how an input is
// taken apart. Single-threaded, as fuzzers are.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/string_view.h"

namespace broker::fuzz {

// Ends the fuzzer, and so reports the input, when the property does not hold.
inline void Check(bool condition, const char* property) {
  if (condition) return;
  std::fprintf(stderr, "violated: %s\n", property);
  std::abort();
}

// Takes an input apart from its front. What is not there any more reads as
// zeros and empty texts.
class Input {
 public:
  Input(const uint8_t* data, size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const auto byte = static_cast<uint8_t>(rest_[0]);
    rest_.remove_prefix(1);
    return byte;
  }
  absl::string_view Bytes(size_t count) {
    const absl::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  // Up to the next `end`, which is dropped, or all that is left.
  absl::string_view Until(char end) {
    const size_t at = rest_.find(end);
    const absl::string_view taken = rest_.substr(0, at);
    rest_.remove_prefix(std::min(taken.size() + 1, rest_.size()));
    return taken;
  }
  absl::string_view Rest() { return Bytes(rest_.size()); }

 private:
  absl::string_view rest_;
};

}  // namespace broker::fuzz
