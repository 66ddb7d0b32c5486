// Reads google.rpc.Status, ErrorInfo and BadRequest from their wire format, and
// not with generated classes: a program that links googleapis has these
// already, and protobuf ends a process that holds the same message twice.

#include "socketbroker/error.h"

#include <google/protobuf/unknown_field_set.h>

#include <string>
#include <utility>

namespace socketbroker {
namespace {

using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

constexpr char kDomain[] = "socketbroker";

// Calls `visit(number, bytes)` for each string and message field, in order.
template <typename Visit>
void ForEachBytesField(const std::string& message, Visit visit) {
  UnknownFieldSet fields;
  if (!fields.ParseFromString(message)) return;
  for (int i = 0; i < fields.field_count(); ++i) {
    const UnknownField& field = fields.field(i);
    if (field.type() == UnknownField::TYPE_LENGTH_DELIMITED) {
      visit(field.number(), field.length_delimited());
    }
  }
}

// The values of two string fields; a map entry and an Any have this form, too.
std::pair<std::string, std::string> ReadPair(const std::string& message) {
  std::pair<std::string, std::string> pair;
  ForEachBytesField(message, [&](int number, const std::string& value) {
    if (number == 1) pair.first = value;
    if (number == 2) pair.second = value;
  });
  return pair;
}

void ReadErrorInfo(const std::string& message, ErrorDetails* details) {
  std::string reason;
  std::string domain;
  std::map<std::string, std::string> metadata;
  ForEachBytesField(message, [&](int number, const std::string& value) {
    if (number == 1) reason = value;
    if (number == 2) domain = value;
    if (number == 3) metadata.insert(ReadPair(value));
  });
  if (domain != kDomain) return;
  details->reason = std::move(reason);
  details->metadata = std::move(metadata);
}

void ReadBadRequest(const std::string& message, ErrorDetails* details) {
  ForEachBytesField(message, [&](int number, const std::string& value) {
    if (number != 1) return;
    auto [field, description] = ReadPair(value);
    details->violations.push_back({std::move(field), std::move(description)});
  });
}

}  // namespace

ErrorDetails GetErrorDetails(const grpc::Status& status) {
  ErrorDetails details;
  ForEachBytesField(
      status.error_details(), [&](int number, const std::string& value) {
        if (number != 3) return;
        const auto [type_url, message] = ReadPair(value);
        const std::string type = type_url.substr(type_url.rfind('/') + 1);
        if (type == "google.rpc.ErrorInfo") ReadErrorInfo(message, &details);
        if (type == "google.rpc.BadRequest") ReadBadRequest(message, &details);
      });
  return details;
}

grpc::Status ToStatus(const v1::PublishError& error) {
  return grpc::Status(static_cast<grpc::StatusCode>(error.code()),
                      error.message(), error.SerializeAsString());
}

}  // namespace socketbroker
