// RpcStats: how many calls of each method ended with which code.
//
// Thread-safe.

#pragma once

#include <grpcpp/support/status.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/node_hash_map.h"
#include "absl/strings/string_view.h"
#include "broker/core/metrics.h"
#include "broker/core/mutex.h"

namespace broker {

// Such as "INVALID_ARGUMENT"; "UNKNOWN" for what is no code.
std::string CodeName(grpc::StatusCode code);

class RpcStats {
 public:
  struct Row {
    std::string method;
    std::string code;  // such as "INVALID_ARGUMENT"
    uint64_t count;
  };

  void Add(absl::string_view method, grpc::StatusCode code);
  std::vector<Row> Snapshot() const;

 private:
  static constexpr size_t kCodes = 17;
  using Counts = std::array<SharedCounter, kCodes>;

  mutable Mutex mu_;
  // Nodes, so that a row stays where it is while others are added.
  absl::node_hash_map<std::string, Counts> methods_ ABSL_GUARDED_BY(mu_);
};

}  // namespace broker
