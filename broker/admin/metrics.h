// The broker's figures as Prometheus metrics. Names, labels and meanings are
// documented in their help texts, and are part of what users rely on.
//
// A pure function, for any thread.

#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "broker/hub/callout_stats.h"
#include "broker/hub/memory_status.h"
#include "broker/hub/offers.h"
#include "broker/hub/stats.h"
#include "broker/registry/registry.h"

namespace broker {

struct RpcStatsSnapshot {
  std::string method;
  std::string code;  // such as "INVALID_ARGUMENT"
  uint64_t count = 0;
};

struct MetricsSnapshot {
  std::string version;
  std::vector<const ShardStats*> shards;
  uint64_t sockets = 0;
  uint64_t epoch = 0;
  const JournalStats* journal = nullptr;  // null: none
  MemoryStatus memory;
  uint64_t control_restarts = 0;
  std::optional<int64_t> certificate_expires;  // Unix time
  std::map<std::string, Registry::Counts> namespaces;
  std::vector<RpcStatsSnapshot> rpcs;
  Offers::Figures offers;
  const CalloutStats* callouts = nullptr;  // null: there is no callout
};

std::vector<prometheus::MetricFamily> CollectMetrics(
    const MetricsSnapshot& snapshot);

}  // namespace broker
