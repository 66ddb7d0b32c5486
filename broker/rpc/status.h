// absl::Status to what goes on the wire, code by code, with google.rpc details.
// Nowhere else does one become the other. Thread-safe.

#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"

namespace broker {

grpc::Status ToGrpcStatus(const absl::Status& status);
google::rpc::Status ToStatusProto(const absl::Status& status);

}  // namespace broker
