// absl::Status to grpc::Status, code by code, with google.rpc details. Nowhere
// else does one become the other. Thread-safe.

#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace broker {

grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace broker
