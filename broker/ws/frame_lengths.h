// FrameLengths: walks the frame headers of a client's byte stream. It refuses
// the one thing that websocketpp does not: a length over 2^63, which RFC 6455
// forbids. Added to what a fragmented message has already, it wraps around
// websocketpp's size check, and the message may then grow without bound. And it
// knows whether the stream is in the middle of a message.
//
// Confined to the shard's thread.

#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace broker {

class FrameLengths {
 public:
  // Goes on with the stream. How many bytes may be parsed: all, or those before
  // the one that completed a forbidden length; nothing may come after it.
  size_t Accept(absl::string_view data) {
    size_t at = 0;
    while (at < data.size()) {
      if (payload_left_ > 0) {
        const auto n = std::min<uint64_t>(payload_left_, data.size() - at);
        payload_left_ -= n;
        at += n;
        if (!unfinished()) ++ends_;
        continue;
      }
      header_[have_++] = static_cast<uint8_t>(data[at]);
      if (have_ >= 2 && have_ >= HeaderSize()) {
        payload_left_ = PayloadSize();
        have_ = 0;
        if (payload_left_ >> 63 != 0) return at;
        const bool control = (header_[0] & 0x08) != 0;
        if (!control) fragmented_ = (header_[0] & 0x80) == 0;
        if (!unfinished()) ++ends_;
      }
      ++at;
    }
    return at;
  }

  // Whether something has begun and not ended: a frame, or a message in
  // fragments, whatever control frames come between them.
  bool unfinished() const {
    return payload_left_ > 0 || have_ > 0 || fragmented_;
  }
  // How often nothing was unfinished. It wraps.
  uint32_t ends() const { return ends_; }

 private:
  static constexpr size_t kMaxHeader = 14;

  uint8_t short_length() const { return header_[1] & 0x7f; }
  size_t length_size() const {
    return short_length() == 127 ? 8 : short_length() == 126 ? 2 : 0;
  }
  size_t HeaderSize() const {
    const size_t mask = (header_[1] & 0x80) != 0 ? 4 : 0;
    return 2 + length_size() + mask;
  }
  uint64_t PayloadSize() const {
    if (length_size() == 0) return short_length();
    uint64_t size = 0;
    for (size_t i = 0; i < length_size(); ++i) {
      size = size << 8 | header_[2 + i];
    }
    return size;
  }

  uint64_t payload_left_ = 0;
  std::array<uint8_t, kMaxHeader> header_{};
  uint8_t have_ = 0;
  bool fragmented_ = false;
  uint32_t ends_ = 0;
};

}  // namespace broker
