#include "tools/bench/common/payload.h"

#include <algorithm>
#include <cstring>
#include <ctime>

namespace bench {
namespace {

// splitmix64: every bit of the seed changes about half of each word.
uint64_t Word(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void FillPattern(uint64_t sequence, char* out, size_t size) {
  // With the size in it, a message that was cut short does not pass as whole.
  const uint64_t seed = sequence ^ Word(size, 0);
  for (size_t at = 0; at < size; at += 8) {
    const uint64_t word = Word(seed, at / 8);
    std::memcpy(out + at, &word, std::min<size_t>(8, size - at));
  }
}

}  // namespace

uint64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u +
         static_cast<uint64_t>(now.tv_nsec);
}

std::string MakePayload(uint64_t sequence, uint64_t sent_ns, size_t size) {
  std::string payload(std::max(size, kStampSize), '\0');
  std::memcpy(payload.data(), &sequence, 8);
  std::memcpy(payload.data() + 8, &sent_ns, 8);
  FillPattern(sequence, payload.data() + kStampSize,
              payload.size() - kStampSize);
  return payload;
}

bool PayloadChecker::Check(std::string_view payload, Stamp* stamp) {
  if (payload.size() < kStampSize) return false;
  std::memcpy(&stamp->sequence, payload.data(), 8);
  std::memcpy(&stamp->sent_ns, payload.data() + 8, 8);
  const std::string_view rest = payload.substr(kStampSize);
  // Different senders at the same count must not share a place.
  const uint64_t place =
      CountOf(stamp->sequence) + SenderOf(stamp->sequence) * 7;
  Pattern& pattern = patterns_[place % patterns_.size()];
  if (pattern.sequence != stamp->sequence ||
      pattern.bytes.size() != rest.size()) {
    pattern.sequence = stamp->sequence;
    pattern.bytes.resize(rest.size());
    FillPattern(stamp->sequence, pattern.bytes.data(), rest.size());
  }
  return rest == pattern.bytes;
}

}  // namespace bench
