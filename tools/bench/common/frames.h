// WebSocket frames (RFC 6455 section 5) as the benchmark programs write them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bench {

enum Opcode : uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10,
};

// The head of a frame, as far as it is there.
struct FrameHead {
  size_t size = 0;  // of the head itself; 0: more bytes are needed
  uint64_t length = 0;
  uint8_t first = 0;
  bool masked = false;
  uint8_t mask[4] = {};

  uint8_t opcode() const { return first & 0x0f; }
  bool fin() const { return (first & 0x80) != 0; }
};
FrameHead ReadFrameHead(std::string_view bytes);

// As a server sends it: in one frame, not masked.
void AppendServerFrame(Opcode opcode, std::string_view payload,
                       std::string* out);

// As a client sends it: masked, with a key that follows from the payload's
// length. Random keys protect proxies; here there is none.
void AppendClientFrame(Opcode opcode, std::string_view payload,
                       std::string* out);

// Masks, and masking again unmasks.
void ApplyMask(const uint8_t mask[4], char* bytes, size_t size);

// The key that every client of the benchmarks presents, and its answer.
inline constexpr std::string_view kKey = "AAAAAAAAAAAAAAAAAAAAAA==";
inline constexpr std::string_view kAccept = "ICX+Yqv66kxgM0FcWaLWlFLwTAI=";

// An upgrade request with that key; a ticket, when there is one, goes as a
// subprotocol.
std::string UpgradeRequest(const std::string& path,
                           const std::string& ticket = "");

}  // namespace bench
