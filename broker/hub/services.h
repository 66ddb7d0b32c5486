// Services: the attached services that take client messages, as one shard knows
// them, and which of them gets a message.
//
// Confined to the shard's thread.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "broker/hub/attach_feed.h"
#include "broker/routing/method_table.h"

namespace broker {

// With which services a connection has begun, by the pattern.
using StickyServices =
    std::vector<std::pair<std::string, std::weak_ptr<AttachFeed>>>;

class Services {
 public:
  void Add(const AttachFeedPtr& feed);
  void Remove(const AttachFeed& feed);

  enum class Routed : uint8_t { kTaken, kNobody, kFull };
  // Pushes the message to the service that is to have it, which `feed` then is.
  Routed Route(const ClientMessagePtr& message, const WaitingLimits& limits,
               StickyServices& sticky, AttachFeedPtr& feed);

 private:
  using Candidates = std::vector<uint64_t>;

  // The one to try first; of those that have had no room before.
  AttachFeedPtr Choose(const Candidates& candidates, absl::string_view pattern,
                       const ClientMessage& message,
                       const StickyServices& sticky) const;
  AttachFeedPtr MostRoom(const Candidates& candidates) const;

  absl::flat_hash_map<std::string, MethodTable> by_namespace_;
  absl::flat_hash_map<uint64_t, AttachFeedPtr> feeds_;
  mutable uint64_t turn_ = 0;  // among those with the same room
};

}  // namespace broker
