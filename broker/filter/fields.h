// Field: what a filter can ask about a connection, and the operators of each
// field. The one place where the table of FilterPresent.field is code.
//
// Thread-safe: values and pure functions.

#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "socketbroker/v1/filter.pb.h"

namespace broker {

enum class Field {
  kAccountId,
  kTokenHash,
  kApiTokenId,
  kConnectionId,
  kCredential,
  kGroups,
  kLabel,
  kEndpoint,
  kRemoteAddress,
  kConnectTime,
};

struct FieldName {
  Field field;
  std::string label_key;  // empty but for kLabel
};

// "account_id", "labels.region". The error's place is "field".
absl::StatusOr<FieldName> ParseFieldName(absl::string_view name);

// Whether the field takes the operator. The error's place is "op".
absl::Status CheckOperator(Field field,
                           socketbroker::v1::FilterComparison::Operator op);

}  // namespace broker
