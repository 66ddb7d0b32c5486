// What `websocket`, `control`, `admin` and `callout.target` may be: what the
// broker listens on, whom it trusts there, and where it connects to.
//
// A pure function, for any thread.

#pragma once

#include "broker/app/config_check.h"
#include "socketbroker/config/v1/config.pb.h"

namespace broker {

void CheckListeners(const socketbroker::config::v1::Config& config,
                    ConfigCheck& check);

}  // namespace broker
