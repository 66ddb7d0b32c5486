// GetBrokerInfo.

#include <algorithm>

#include "broker/control/fields.h"
#include "broker/control/handlers.h"

namespace broker::control {
namespace {

void SetLimits(const Settings& settings, v1::BrokerLimits& out) {
  const Limits& limits = settings.limits;
  out.set_max_connections(limits.max_connections);
  out.set_max_connections_per_address(limits.max_connections_per_address);
  out.set_max_connections_per_account(limits.max_connections_per_account);
  out.set_max_pending_connections(limits.max_pending_connections);
  out.set_max_connections_per_namespace(limits.max_connections_per_namespace);
}

void SetMemory(const MemoryStatus& memory, v1::MemoryInfo& out) {
  switch (memory.level) {
    case MemoryLevel::kNormal:
      out.set_level(v1::MEMORY_LEVEL_NORMAL);
      break;
    case MemoryLevel::kSoft:
      out.set_level(v1::MEMORY_LEVEL_SOFT);
      break;
    case MemoryLevel::kHard:
      out.set_level(v1::MEMORY_LEVEL_HARD);
      break;
  }
  out.set_resident_bytes(memory.resident_bytes);
  out.set_limit_bytes(memory.limit_bytes);
}

}  // namespace

void GetBrokerInfo(Hub& hub, const Caller& caller, const BrokerFacts& facts,
                   Done<v1::GetBrokerInfoResponse> done) {
  v1::GetBrokerInfoResponse response;
  response.set_ready(!hub.draining());
  response.set_version(facts.version);
  response.set_node_id(hub.node_id().ToString());
  response.set_epoch(hub.epoch());
  response.set_oldest_epoch(hub.oldest_epoch());
  FromTime(hub.start_time(), response.mutable_start_time());
  response.set_websocket_address(facts.websocket_address);
  response.set_websocket_tls(facts.websocket_tls);
  response.set_durable_revocations(facts.durable_revocations);
  response.set_control_address(facts.control_address);
  response.set_admin_address(facts.admin_address);
  response.set_shards(static_cast<uint32_t>(hub.shards().size()));
  const SettingsPtr settings = hub.settings();
  for (const EndpointSettings& e : settings->endpoints) {
    if (caller.reach && !caller.reach->HasNamespace(e.ns)) continue;
    v1::EndpointInfo* out = response.add_endpoints();
    out->set_path(e.path);
    out->set_namespace_(e.ns);
    out->set_framing(e.framing == Framing::kRaw ? "RAW" : "JSONRPC");
    out->set_max_message_bytes(e.max_message_bytes);
    out->set_max_outbox_bytes(e.max_outbox_bytes);
  }
  SetLimits(*settings, *response.mutable_limits());
  SetMemory(hub.memory(), *response.mutable_memory());
  hub.CountByNamespace(
      [response = std::move(response), done = std::move(done)](
          absl::StatusOr<std::map<std::string, Registry::Counts>>
              counts) mutable {
        if (!counts.ok()) return done(counts.status());
        for (const auto& [name, c] : *counts) {
          v1::NamespaceInfo* out = response.add_namespaces();
          out->set_namespace_(name);
          out->set_admitted(c.admitted);
          out->set_pending(c.pending);
          out->set_closing(c.closing);
        }
        done(std::move(response));
      },
      caller.reach);
}

}  // namespace broker::control
