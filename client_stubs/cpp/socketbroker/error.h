// What an error of the broker says beside its code and message.

#pragma once

#include <grpcpp/support/status.h>

#include <map>
#include <string>
#include <vector>

#include "socketbroker/v1/socket_broker.pb.h"

namespace socketbroker {

// A wrong field of the request.
struct FieldViolation {
  // Its path, such as "identity.account_id".
  std::string field;
  // What is wrong with it, with the value and what is allowed.
  std::string description;
};

struct ErrorDetails {
  // A constant such as "CREDENTIAL_REVOKED". Empty: the error has none, or is
  // not the broker's own.
  std::string reason;
  // More facts that belong to the reason.
  std::map<std::string, std::string> metadata;
  // Every wrong field that the broker found.
  std::vector<FieldViolation> violations;
};

// Never fails: details that cannot be read are left out.
ErrorDetails GetErrorDetails(const grpc::Status& status);

// What the call would have returned that the item of a Publish stream stands
// for.
grpc::Status ToStatus(const v1::PublishError& error);

}  // namespace socketbroker
