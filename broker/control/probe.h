// Probe: asks a listener of this process whether it still accepts.
//
// Thread-safe; blocks.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace broker {

enum class ProbeResult {
  kAnswers,
  kSilent,   // nobody accepts, or nobody listens
  kUnknown,  // there were no descriptors left to find out with
};

// Connects, says that nothing follows, and waits for the first byte or the end:
// both come from a server that has accepted, whether it speaks TLS and whom it
// lets in. `address` is an IP address, or "unix:" and a path.
ProbeResult Probe(const std::string& address, uint16_t port,
                  std::chrono::milliseconds patience);

}  // namespace broker
