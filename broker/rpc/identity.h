// Identities as messages, for all that carry one: calls, callouts, events.
// Errors name the field, the value and what is allowed. Thread-safe: pure
// functions.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "broker/core/clock.h"
#include "broker/core/identity.h"
#include "google/protobuf/map.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "google/protobuf/timestamp.pb.h"
#include "socketbroker/v1/connection.pb.h"

namespace broker {

absl::Time ToTime(const google::protobuf::Timestamp& timestamp);
void FromTime(absl::Time time, google::protobuf::Timestamp* out);
// Into the range of a Timestamp or nothing: INVALID_ARGUMENT.
absl::Status CheckTimestamp(absl::string_view field,
                            const google::protobuf::Timestamp& timestamp);

// A key of an identity: present, not empty, not too long.
absl::Status CheckKey(absl::string_view field, bool present,
                      absl::string_view key);

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

socketbroker::v1::Identity ToProto(const Identity& identity);

}  // namespace broker
