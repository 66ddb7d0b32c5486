// What the configuration's values may be, and what they are when left out: the
// two things about a field that its type does not say. The comments of
// config.proto and broker/docs/configuration.md say the same in words.
//
// Pure functions, for any thread.

#pragma once

#include <cstdint>

#include "broker/app/config_map.h"
#include "socketbroker/config/v1/config.pb.h"

namespace broker {

using socketbroker::config::v1::Config;

// Below the descriptor limit, for all that is no client's socket.
inline constexpr uint64_t kReservedDescriptors = 512;

// Fills in what is left out. The limits are this process's; `memory_limit` is 0
// when there is none.
void FillDefaults(uint64_t descriptor_limit, uint64_t memory_limit,
                  Config& config);

// Of a configuration with its defaults filled in. Every fault names the key,
// the value, and what is allowed.
void CheckConfig(const Config& config, uint64_t descriptor_limit,
                 Faults& faults);

}  // namespace broker
