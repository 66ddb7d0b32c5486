// Between the messages of the API and the broker's own types. Thread-safe:
// pure functions.

#pragma once

#include "broker/core/identity.h"
#include "broker/hub/commands.h"
#include "broker/registry/fence.h"
#include "broker/rpc/identity.h"
#include "socketbroker/v1/connection.pb.h"
#include "socketbroker/v1/socket_broker.pb.h"

namespace broker {

socketbroker::v1::Connection ToProto(const ConnectionInfo& info);
socketbroker::v1::Revocation ToProto(const Fence& fence);
socketbroker::v1::SendOutcome ToProto(SendOutcome outcome);

}  // namespace broker
