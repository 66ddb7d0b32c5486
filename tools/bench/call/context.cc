#include "tools/bench/call/context.h"

#include <string>

namespace bench {
namespace {

std::string& Authorization() {
  static std::string authorization;
  return authorization;
}

}  // namespace

void SetApiKey(const char* key) {
  Authorization() = std::string("Bearer ") + key;
}

void Prepare(grpc::ClientContext& context, std::chrono::seconds deadline) {
  context.set_deadline(std::chrono::system_clock::now() + deadline);
  if (!Authorization().empty()) {
    context.AddMetadata("authorization", Authorization());
  }
}

}  // namespace bench
