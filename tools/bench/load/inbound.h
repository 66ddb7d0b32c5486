// Inbound: the frames that one client gets, put together into messages.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tools/bench/common/frames.h"

namespace bench {

class Inbound {
 public:
  // Calls `take(opcode, payload)` for each message and control frame that is
  // whole; what it is given is valid during the call. False: these are no
  // frames of a server, and fault() says why.
  template <typename Take>
  bool Feed(std::string_view bytes, Take&& take) {
    if (!rest_.empty()) {
      rest_.append(bytes);
      bytes = rest_;
    }
    std::string_view left = bytes;
    while (const Part part = Cut(&left)) {
      if (!Accept(part)) return false;
      if (part.opcode >= kClose || part.alone) {
        take(part.opcode, part.payload);
      } else if (part.fin) {
        take(opcode_, std::string_view(message_));
        message_.clear();
        opcode_ = 0;
      }
    }
    if (left.size() != rest_.size() || left.data() != rest_.data()) {
      rest_ = std::string(left);
    }
    return true;
  }

  // Null unless Feed has failed.
  const char* fault() const { return fault_; }

  // Frees what it holds.
  void Clear() { *this = Inbound(); }

 private:
  // One frame; false when there is none.
  struct Part {
    bool whole = false;
    uint8_t opcode = 0;
    bool fin = false;
    bool reserved_or_masked = false;
    bool alone = false;  // a message in one frame
    std::string_view payload;
    explicit operator bool() const { return whole; }
  };

  // Takes the first frame off `bytes`, if it is there.
  static Part Cut(std::string_view* bytes);
  // Holds it against RFC 6455 and keeps fragments.
  bool Accept(const Part& part);

  std::string rest_;     // of a frame that is not whole yet
  std::string message_;  // fragments
  uint8_t opcode_ = 0;   // of the message that they belong to; 0: none
  const char* fault_ = nullptr;
};

}  // namespace bench
