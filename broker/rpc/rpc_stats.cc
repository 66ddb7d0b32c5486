#include "broker/rpc/rpc_stats.h"

#include <iterator>

namespace broker {
namespace {

constexpr const char* kNames[] = {"OK",
                                  "CANCELLED",
                                  "UNKNOWN",
                                  "INVALID_ARGUMENT",
                                  "DEADLINE_EXCEEDED",
                                  "NOT_FOUND",
                                  "ALREADY_EXISTS",
                                  "PERMISSION_DENIED",
                                  "RESOURCE_EXHAUSTED",
                                  "FAILED_PRECONDITION",
                                  "ABORTED",
                                  "OUT_OF_RANGE",
                                  "UNIMPLEMENTED",
                                  "INTERNAL",
                                  "UNAVAILABLE",
                                  "DATA_LOSS",
                                  "UNAUTHENTICATED"};

}  // namespace

const char* CodeName(grpc::StatusCode code) {
  const auto i = static_cast<size_t>(code);
  return kNames[i < std::size(kNames) ? i : grpc::UNKNOWN];
}

void RpcStats::Add(absl::string_view method, grpc::StatusCode code) {
  const auto i = static_cast<size_t>(code);
  MutexLock lock(mu_);
  methods_[method][i < kCodes ? i : 2].Add();
}

std::vector<RpcStats::Row> RpcStats::Snapshot() const {
  std::vector<Row> rows;
  MutexLock lock(mu_);
  for (const auto& [method, counts] : methods_) {
    for (size_t i = 0; i < kCodes; ++i) {
      if (const uint64_t n = counts[i].value()) {
        rows.push_back({method, kNames[i], n});
      }
    }
  }
  return rows;
}

}  // namespace broker
