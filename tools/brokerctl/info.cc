// brokerctl info.

#include <iostream>

#include "tools/brokerctl/command.h"
#include "tools/brokerctl/output.h"

namespace brokerctl {
namespace {

namespace v1 = socketbroker::v1;

void PrintInfo(const v1::GetBrokerInfoResponse& info) {
  const v1::BrokerLimits& limits = info.limits();
  const auto number = [](uint64_t value) { return std::to_string(value); };
  const auto limit = [](uint64_t value) {
    return value == 0 ? "none" : std::to_string(value);
  };
  PrintTable({
      {"ready", info.ready() ? "yes" : "no"},
      {"version", info.version()},
      {"node", info.node_id()},
      {"epoch", number(info.epoch())},
      {"oldest epoch", number(info.oldest_epoch())},
      {"started", TimeName(info.start_time())},
      {"websocket",
       (info.websocket_tls() ? "wss://" : "ws://") + info.websocket_address()},
      {"control", info.control_address()},
      {"admin", info.admin_address().empty() ? "-" : info.admin_address()},
      {"revocations", info.durable_revocations() ? "on disk" : "in memory"},
      {"shards", number(info.shards())},
      {"max connections", limit(limits.max_connections())},
      {"  of one address", limit(limits.max_connections_per_address())},
      {"  of one account", limit(limits.max_connections_per_account())},
      {"  of one namespace", limit(limits.max_connections_per_namespace())},
      {"  pending", limit(limits.max_pending_connections())},
  });
  std::vector<Row> endpoints = {
      {"ENDPOINT", "NAMESPACE", "FRAMING", "MAX MESSAGE", "MAX OUTBOX"}};
  for (const v1::EndpointInfo& endpoint : info.endpoints()) {
    endpoints.push_back({endpoint.path(), endpoint.namespace_(),
                         endpoint.framing(),
                         number(endpoint.max_message_bytes()),
                         number(endpoint.max_outbox_bytes())});
  }
  std::cout << "\n";
  PrintTable(endpoints);
  std::vector<Row> namespaces = {
      {"NAMESPACE", "ADMITTED", "PENDING", "CLOSING"}};
  for (const v1::NamespaceInfo& one : info.namespaces()) {
    namespaces.push_back({one.namespace_(), number(one.admitted()),
                          number(one.pending()), number(one.closing())});
  }
  std::cout << "\n";
  PrintTable(namespaces);
}

int Info(Command& command) {
  v1::GetBrokerInfoResponse response;
  const grpc::Status status = command.client().GetBrokerInfo({}, &response);
  if (!status.ok()) return command.Fail(status);
  if (command.json()) {
    PrintJson(response);
  } else {
    PrintInfo(response);
  }
  return kOk;
}

}  // namespace

void AddInfo(CLI::App& app, Command& command) {
  CLI::App* info =
      app.add_subcommand("info", "What the broker is and how it is");
  info->callback(
      [&command] { command.action = [&command] { return Info(command); }; });
}

}  // namespace brokerctl
