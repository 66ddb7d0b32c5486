// What every call of the benchmarks has.

#pragma once

#include <grpcpp/client_context.h>

#include <chrono>

namespace bench {

// The key that all calls prove themselves with; without one they do not. Set
// before the first call.
void SetApiKey(const char* key);

void Prepare(grpc::ClientContext& context, std::chrono::seconds deadline);

}  // namespace bench
