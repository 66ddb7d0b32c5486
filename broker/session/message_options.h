// MessageOptions: how long a message may wait for a client that reads slowly,
// what it does to one, and who wants to know how it ended.
//
// Immutable once made; thread-safe.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "broker/core/clock.h"
#include "broker/session/outcome_tracker.h"

namespace broker {

// See SlowPolicy in message.proto.
enum class SlowPolicy : uint8_t { kClose, kDrop, kLatest };

struct MessageOptions {
  MonotonicTime expires_at = MonotonicTime::max();
  SlowPolicy slow_policy = SlowPolicy::kClose;
  std::string conflation_key;  // not empty with kLatest, and only then
  OutcomeTrackerPtr tracker;   // null: nobody waits
};

using MessageOptionsPtr = std::shared_ptr<const MessageOptions>;

}  // namespace broker
