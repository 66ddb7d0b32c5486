// Between the JSON of the API's messages and JSON texts. Thread-safe: pure
// functions. Errors name the field.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/session/envelope.h"
#include "google/protobuf/message.h"
#include "google/protobuf/struct.pb.h"
#include "socketbroker/v1/conversation.pb.h"

namespace broker::control {

// Of a JSON-RPC method.
inline constexpr size_t kMaxMethodBytes = 256;

// Of a google.protobuf.Value or Struct.
absl::StatusOr<std::string> ValueToJson(absl::string_view field,
                                        const google::protobuf::Message& value);
// Of a text that is known to be JSON. INTERNAL if it does not fit.
absl::StatusOr<google::protobuf::Value> JsonToValue(absl::string_view json);

// An error object.
absl::StatusOr<std::string> ErrorToJson(
    absl::string_view field, const socketbroker::v1::JsonRpcError& error);

// The method of a call by the broker: not empty, at most 256 bytes, and none of
// those that JSON-RPC 2.0 reserves.
absl::Status CheckCallMethod(absl::string_view field,
                             const std::string& method);

// The params of a call as a JSON text; empty: it has none. `prefix` goes before
// the names of the fields, and ends with a dot when it is not empty.
template <typename Call>
absl::StatusOr<std::string> ReadParams(const std::string& prefix,
                                       const Call& call) {
  switch (call.params_case()) {
    case Call::kParamsStruct: {
      const std::string field = absl::StrCat(prefix, "params_struct");
      BROKER_ASSIGN_OR_RETURN(std::string json,
                              ValueToJson(field, call.params_struct()));
      BROKER_RETURN_IF_ERROR(BelowField(field, ValidateParams(json)));
      return json;
    }
    case Call::kParamsJson:
      BROKER_RETURN_IF_ERROR(BelowField(absl::StrCat(prefix, "params_json"),
                                        ValidateParams(call.params_json())));
      return call.params_json();
    case Call::PARAMS_NOT_SET:
      break;
  }
  return std::string();
}

}  // namespace broker::control
