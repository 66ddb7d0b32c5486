// MessageRate: what one client may send, by the settings of its endpoint.
//
// Confined to its connection's shard.

#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>

#include "broker/core/clock.h"
#include "broker/hub/settings.h"
#include "broker/session/token_bucket.h"

namespace broker {

class MessageRate {
 public:
  // Null: the endpoint sets no limit.
  static std::unique_ptr<MessageRate> Make(const EndpointSettings& endpoint,
                                           MonotonicTime now) {
    if (endpoint.max_messages_per_second == 0 &&
        endpoint.max_bytes_per_second == 0) {
      return nullptr;
    }
    return std::make_unique<MessageRate>(endpoint, now);
  }

  // At once a second's worth; of bytes no less than the largest message.
  MessageRate(const EndpointSettings& endpoint, MonotonicTime now) {
    if (const auto n = static_cast<double>(endpoint.max_messages_per_second)) {
      messages_.emplace(n, n, now);
    }
    if (const auto n = static_cast<double>(endpoint.max_bytes_per_second)) {
      const auto whole = static_cast<double>(endpoint.max_message_bytes);
      bytes_.emplace(n, std::max(n, whole), now);
    }
  }

  bool Take(size_t bytes, MonotonicTime now) {
    return (!messages_ || messages_->Take(1, now)) &&
           (!bytes_ || bytes_->Take(static_cast<double>(bytes), now));
  }

 private:
  std::optional<TokenBucket> messages_;
  std::optional<TokenBucket> bytes_;
};

}  // namespace broker
