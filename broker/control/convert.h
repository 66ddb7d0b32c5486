// Between the messages of the API and the broker's own types. Thread-safe:
// pure functions.

#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/core/clock.h"
#include "broker/core/identity.h"
#include "broker/hub/commands.h"
#include "broker/registry/fence.h"
#include "socketbroker/v1/connection.pb.h"
#include "socketbroker/v1/socket_broker.pb.h"

namespace broker {

// Validated. Errors name the field below `field`, such as
// "identity.account_id".
absl::StatusOr<IdentityPtr> ReadIdentity(
    absl::string_view field, bool present,
    const socketbroker::v1::Identity& message, const Clock& clock);

// Validated, sorted, without repeats.
absl::StatusOr<std::vector<std::string>> ReadGroups(
    absl::string_view field,
    const google::protobuf::RepeatedPtrField<std::string>& groups);
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> ReadLabels(
    absl::string_view field,
    const google::protobuf::Map<std::string, std::string>& labels);
absl::Status CheckLabelKey(absl::string_view field, absl::string_view key);

// A time that is still to come.
absl::StatusOr<absl::Time> ReadExpiry(
    absl::string_view field, const google::protobuf::Timestamp& timestamp,
    const Clock& clock);

socketbroker::v1::Connection ToProto(const ConnectionInfo& info);
socketbroker::v1::Revocation ToProto(const Fence& fence);
socketbroker::v1::SendOutcome ToProto(SendOutcome outcome);

}  // namespace broker
