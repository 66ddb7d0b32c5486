// grpc.reflection.v1.ServerReflection: gRPC 1.51 serves v1alpha only, and newer
// clients ask for v1 first. Thread-safe.

#pragma once

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>
#include <string>
#include <vector>

namespace broker {

// Describes whatever is linked into the program; lists these services.
std::unique_ptr<grpc::Service> MakeReflectionV1(
    std::vector<std::string> services);

}  // namespace broker
