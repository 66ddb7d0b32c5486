#include "broker/session/pending_inbound.h"

#include <utility>

namespace broker {

bool PendingInbound::Push(InboundMessage message) {
  const uint64_t size = message.payload.size();
  // Not as a sum: it could wrap.
  if (messages_.size() >= kMaxMessages || size > max_bytes_ - bytes_) {
    return false;
  }
  bytes_ += size;
  messages_.push_back(std::move(message));
  return true;
}

std::vector<InboundMessage> PendingInbound::Take() {
  bytes_ = 0;
  return std::exchange(messages_, {});
}

}  // namespace broker
