// The configuration in the environment: SOCKET_BROKER_WEBSOCKET_PORT is the key
// websocket.port. Pure functions, for any thread.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "broker/app/config_map.h"

namespace broker {

using Environment = std::vector<std::pair<std::string, std::string>>;

// This process's variables that begin with SOCKET_BROKER_, by name.
Environment ReadEnvironment();

// The variables that are keys. One that begins with SOCKET_BROKER_ and is none
// is a fault, but for SOCKET_BROKER_CONFIG (the file), SOCKET_BROKER_ADDRESS
// (brokerctl's) and those that Kubernetes makes of a service of our name.
std::vector<Assignment> FromEnvironment(const Environment& environment,
                                        Faults& faults);

// The value of SOCKET_BROKER_CONFIG, or empty.
std::string ConfigFileFrom(const Environment& environment);

}  // namespace broker
