// The reflection service in both of its versions, v1 and v1alpha: gRPC 1.51's
// own has v1alpha only, and cannot be linked and yet be off. Thread-safe.

#pragma once

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>
#include <string>
#include <vector>

#include "broker/rpc/access.h"

namespace broker {

// For every caller whom `access` knows. Describe whatever is linked into the
// program; list `services` and, of reflection, both versions. Register every
// one of them.
std::vector<std::unique_ptr<grpc::Service>> MakeReflection(
    std::vector<std::string> services, const Access& access);

}  // namespace broker
