// What attached services say and are told, between the messages of the API and
// the broker's own types. Thread-safe: pure functions.

#pragma once

#include "absl/status/statusor.h"
#include "broker/hub/attach_feed.h"
#include "broker/hub/commands.h"
#include "broker/hub/settings.h"
#include "broker/rpc/callers.h"
#include "socketbroker/v1/attach.pb.h"

namespace broker::control {

// What the service wants, within the reach of its caller.
absl::StatusOr<AttachSpec> ReadAttachStart(
    const Settings& settings, const Caller& caller,
    const socketbroker::v1::AttachStart& start);

absl::StatusOr<ServiceReply> ReadReply(const socketbroker::v1::Reply& reply);

// `epoch` is the current one. The payload of a message that will not be given
// to another service moves.
socketbroker::v1::AttachResponse ToProto(const AttachFeed::Item& item,
                                         uint64_t epoch, bool keep_payload);

}  // namespace broker::control
