// The descriptor limit of the process. Call before there are threads.

#pragma once

#include <cstdint>

namespace broker {

// Raises the soft limit to the hard one. Returns the soft limit.
uint64_t RaiseDescriptorLimit();

}  // namespace broker
