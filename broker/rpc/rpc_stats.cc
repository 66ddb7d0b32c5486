#include "broker/rpc/rpc_stats.h"

#include "absl/status/status.h"

namespace broker {

// The codes of Abseil are those of gRPC.
std::string CodeName(grpc::StatusCode code) {
  const std::string name =
      absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
  return name.empty() ? "UNKNOWN" : name;
}

void RpcStats::Add(absl::string_view method, grpc::StatusCode code) {
  const auto i = static_cast<size_t>(code);
  MutexLock lock(mu_);
  methods_[method][i < kCodes ? i : grpc::UNKNOWN].Add();
}

std::vector<RpcStats::Row> RpcStats::Snapshot() const {
  std::vector<Row> rows;
  MutexLock lock(mu_);
  for (const auto& [method, counts] : methods_) {
    for (size_t i = 0; i < kCodes; ++i) {
      if (const uint64_t n = counts[i].value()) {
        rows.push_back({method, CodeName(static_cast<grpc::StatusCode>(i)), n});
      }
    }
  }
  return rows;
}

}  // namespace broker
