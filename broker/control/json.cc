#include "broker/control/json.h"

#include "absl/strings/match.h"
#include "broker/core/quoted.h"
#include "google/protobuf/util/json_util.h"

namespace broker::control {
absl::StatusOr<std::string> ValueToJson(
    absl::string_view field, const google::protobuf::Message& value) {
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(value, &json);
  if (status.ok()) return json;
  return InvalidField(field, std::string(status.message()));
}

absl::StatusOr<google::protobuf::Value> JsonToValue(absl::string_view json) {
  google::protobuf::Value value;
  const auto status = google::protobuf::util::JsonStringToMessage(
      {json.data(), json.size()}, &value);
  if (status.ok()) return value;
  return absl::InternalError(
      absl::StrCat("what the client replied does not fit a "
                   "google.protobuf.Value; ask with want_json: ",
                   std::string(status.message())));
}

absl::StatusOr<std::string> ErrorToJson(
    absl::string_view field, const socketbroker::v1::JsonRpcError& error) {
  using Error = socketbroker::v1::JsonRpcError;
  std::string data;
  switch (error.data_case()) {
    case Error::kDataValue: {
      const std::string name = absl::StrCat(field, ".data_value");
      BROKER_ASSIGN_OR_RETURN(data, ValueToJson(name, error.data_value()));
      BROKER_RETURN_IF_ERROR(BelowField(name, ValidateErrorData(data)));
      break;
    }
    case Error::kDataJson:
      BROKER_RETURN_IF_ERROR(BelowField(absl::StrCat(field, ".data_json"),
                                        ValidateErrorData(error.data_json())));
      data = error.data_json();
      break;
    case Error::DATA_NOT_SET:
      break;
  }
  return MakeError(error.code(), error.message(), data);
}

absl::Status CheckCallMethod(absl::string_view field,
                             const std::string& method) {
  if (method.empty()) return InvalidField(field, "is missing");
  if (method.size() > kMaxMethodBytes) {
    return InvalidField(field, absl::StrCat(method.size(), " bytes, at most ",
                                            kMaxMethodBytes, " are allowed"));
  }
  if (absl::StartsWith(method, "rpc.")) {
    return InvalidField(field,
                        absl::StrCat(Quoted(method),
                                     ": JSON-RPC 2.0 reserves names that begin "
                                     "with rpc."));
  }
  return absl::OkStatus();
}

}  // namespace broker::control
