// `control.callers`: who may call the gRPC API.
//
// Pure functions, for any thread.

#pragma once

#include "broker/app/config_map.h"
#include "broker/rpc/callers.h"
#include "socketbroker/config/v1/config.pb.h"

namespace broker {

// Every fault names the key, the value, and what is allowed; a hash is never
// quoted.
void CheckCallers(const socketbroker::config::v1::Control& control,
                  Faults& faults);

// Of callers without fault, those that are enabled; null when there are none at
// all.
CallersPtr ToCallers(const socketbroker::config::v1::Control& control);

}  // namespace broker
