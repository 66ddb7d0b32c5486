// PendingInbound: the client messages of a pending connection, which wait for
// its admission.
//
// Confined to the connection's shard.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "broker/session/frame.h"

namespace broker {

struct InboundMessage {
  Opcode opcode = Opcode::kText;  // or kBinary
  std::string payload;
};

class PendingInbound {
 public:
  static constexpr size_t kMaxMessages = 256;
  // In units of the endpoint's message limit.
  static constexpr uint64_t kMaxMessageSizes = 4;

  explicit PendingInbound(uint64_t max_message_bytes)
      : max_bytes_(kMaxMessageSizes * max_message_bytes) {}

  // False: it is full, and nothing was taken. The connection is then closed
  // with 1008.
  bool Push(InboundMessage message);

  // All of them, in the order in which they came. Leaves it empty.
  std::vector<InboundMessage> Take();

  bool empty() const { return messages_.empty(); }
  // Of payload.
  uint64_t bytes() const { return bytes_; }

 private:
  uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  std::vector<InboundMessage> messages_;
};

}  // namespace broker
