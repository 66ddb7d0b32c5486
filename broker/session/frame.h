// Frame: one message as it goes on the wire (RFC 6455 section 5), encoded once
// and shared by all recipients.
//
// A message over 16 KiB is encoded as fragments of 16 KiB, so that a close
// frame can follow any fragment and never waits behind a megabyte.
//
// Immutable once made; thread-safe.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "broker/session/message_options.h"

namespace broker {

enum class Opcode : uint8_t { kText = 0x1, kBinary = 0x2, kPing = 0x9 };

class Frame {
 public:
  // The payload bytes of every fragment but the last.
  static constexpr size_t kFragmentPayload = 16 * 1024;

  // Control frames carry at most 125 bytes and are never split.
  Frame(Opcode opcode, absl::string_view payload,
        MessageOptionsPtr options = nullptr);
  static std::shared_ptr<const Frame> Encode(
      Opcode opcode, absl::string_view payload,
      MessageOptionsPtr options = nullptr) {
    return std::make_shared<const Frame>(opcode, payload, std::move(options));
  }

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  Opcode opcode() const { return opcode_; }
  size_t payload_size() const { return payload_size_; }
  // Null: it waits as long as its connection lives, and who has no room for it
  // is a slow consumer.
  const MessageOptions* options() const { return options_.get(); }

  // The end of the fragment that the byte at `offset` belongs to; `offset`
  // itself when it is the first byte of one. After it a control frame may go.
  size_t FragmentEnd(size_t offset) const;

 private:
  std::string bytes_;
  const MessageOptionsPtr options_;
  size_t payload_size_;
  Opcode opcode_;
};

using FramePtr = std::shared_ptr<const Frame>;

}  // namespace broker
