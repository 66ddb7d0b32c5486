// How short of memory the process is. Values.

#pragma once

#include <cstdint>

namespace broker {

enum class MemoryLevel : uint8_t {
  kNormal,
  kSoft,  // handshakes are refused
  kHard,  // and the slowest connections are closed
};

struct MemoryStatus {
  MemoryLevel level = MemoryLevel::kNormal;
  uint64_t resident_bytes = 0;  // 0: not known yet
  uint64_t limit_bytes = 0;     // 0: there is none
};

}  // namespace broker
