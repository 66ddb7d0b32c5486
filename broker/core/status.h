// Errors: absl::Status, with the two details that every error of the API may
// carry. Only broker/rpc turns them into gRPC's.
//
// Thread-safe: values and pure functions.

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace broker {

// A wrong field of a request: its path, and what is wrong with it, with the
// value and what is allowed.
struct FieldViolation {
  std::string field;
  std::string description;
};

// What a program can act on: see google.rpc.ErrorInfo.
struct ErrorReason {
  std::string reason;
  std::vector<std::pair<std::string, std::string>> metadata;
};

// INVALID_ARGUMENT with a field violation. The message reads
// "<field>: <description>".
absl::Status InvalidField(absl::string_view field,
                          absl::string_view description);

// The same error with a reason, an UPPER_SNAKE_CASE constant.
absl::Status WithReason(
    absl::Status status, absl::string_view reason,
    std::vector<std::pair<std::string, std::string>> metadata = {});

// The same error with every violation's field below `prefix`:
// "account_id" becomes "identity.account_id".
absl::Status BelowField(absl::string_view prefix, const absl::Status& status);

// The details, empty when there are none.
std::vector<FieldViolation> GetFieldViolations(const absl::Status& status);
ErrorReason GetErrorReason(const absl::Status& status);

}  // namespace broker
