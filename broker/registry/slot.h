// Slot: a socket's index within its shard: dense, and used again once OnGone
// has returned.

#pragma once

#include <cstdint>

namespace broker {

using Slot = uint32_t;

}  // namespace broker
