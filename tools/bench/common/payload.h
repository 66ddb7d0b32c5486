// What the messages of a benchmark carry, so that whoever receives one can tell
// that it is whole, in order, and how long it took:
//
//   8 bytes  sequence: the sender in the upper 16 bits, its count below
//   8 bytes  CLOCK_MONOTONIC in nanoseconds, when it was sent
//   rest     a pattern that follows from the sequence and the length
//
// All in the byte order of the machine: nothing of it leaves this one.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bench {

inline constexpr size_t kStampSize = 16;
inline constexpr size_t kMaxSenders = 64;

uint64_t NowNs();

constexpr uint64_t Sequence(uint64_t sender, uint64_t count) {
  return sender << 48 | count;
}
constexpr uint64_t SenderOf(uint64_t sequence) { return sequence >> 48; }
constexpr uint64_t CountOf(uint64_t sequence) {
  return sequence & ((uint64_t{1} << 48) - 1);
}

// `size` is at least kStampSize.
std::string MakePayload(uint64_t sequence, uint64_t sent_ns, size_t size);

struct Stamp {
  uint64_t sequence = 0;
  uint64_t sent_ns = 0;
};

// Checks payloads byte by byte. Thousands of clients get the same message one
// after another, so it keeps the patterns that it saw last.
class PayloadChecker {
 public:
  // False: too short, or not the pattern of its sequence and length.
  bool Check(std::string_view payload, Stamp* stamp);

 private:
  struct Pattern {
    uint64_t sequence = 0;
    std::string bytes;
  };
  std::array<Pattern, 64> patterns_;
};

}  // namespace bench
