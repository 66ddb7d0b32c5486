// brokerctl connections list, get and count.

#include <iostream>
#include <limits>
#include <memory>

#include "tools/brokerctl/command.h"
#include "tools/brokerctl/options.h"
#include "tools/brokerctl/output.h"

namespace brokerctl {
namespace {

namespace v1 = socketbroker::v1;

struct ListOptions {
  v1::ListConnectionsRequest request;
  uint64_t limit = std::numeric_limits<uint64_t>::max();
};

void PrintConnections(const v1::ListConnectionsResponse& list) {
  std::vector<Row> rows = {{"CONNECTION", "STATE", "ACCOUNT", "CREDENTIAL",
                            "ENDPOINT", "REMOTE", "CONNECTED"}};
  for (const v1::Connection& connection : list.connections()) {
    const v1::Identity& identity = connection.identity();
    rows.push_back({connection.connection_id(), StateName(connection.state()),
                    identity.has_account_id() ? identity.account_id() : "-",
                    CredentialName(connection), connection.endpoint(),
                    RemoteName(connection),
                    TimeName(connection.connect_time())});
  }
  PrintTable(rows);
}

int List(Command& command, const ListOptions& options) {
  v1::ListConnectionsRequest request = options.request;
  v1::ListConnectionsResponse all;
  do {
    const uint64_t missing = options.limit - all.connections_size();
    request.set_page_size(
        static_cast<int>(std::min<uint64_t>(missing, kPageSize)));
    v1::ListConnectionsResponse page;
    const grpc::Status status =
        command.client().ListConnections(request, &page);
    if (!status.ok()) return command.Fail(status);
    request.set_page_token(page.next_page_token());
    all.MergeFrom(page);
  } while (!request.page_token().empty() &&
           static_cast<uint64_t>(all.connections_size()) < options.limit);
  all.set_next_page_token(request.page_token());
  if (command.json()) {
    PrintJson(all);
  } else {
    PrintConnections(all);
  }
  return kOk;
}

void PrintConnection(const v1::Connection& connection) {
  const v1::Identity& identity = connection.identity();
  std::vector<Row> rows = {
      {"connection", connection.connection_id()},
      {"namespace", connection.namespace_()},
      {"state", StateName(connection.state())},
      {"account", identity.has_account_id() ? identity.account_id() : "-"},
      {"credential", CredentialName(connection)},
      {"expires", TimeName(identity.expires_at())},
      {"endpoint", connection.endpoint()},
      {"query", connection.query()},
      {"origin", connection.origin()},
      {"remote", RemoteName(connection)},
      {"connected", TimeName(connection.connect_time())},
      {"admitted", TimeName(connection.admit_time())},
      {"version", std::to_string(connection.version())},
      {"epoch", std::to_string(connection.epoch())},
      {"outbox bytes", std::to_string(connection.outbox_bytes())},
      {"  at most", std::to_string(connection.outbox_bytes_peak())},
  };
  if (connection.has_close_code()) {
    rows.push_back({"close code", std::to_string(connection.close_code())});
  }
  for (const auto& [key, value] : identity.labels()) {
    rows.push_back({"label", key + "=" + value});
  }
  for (const std::string& group : identity.groups()) {
    rows.push_back({"group", group});
  }
  PrintTable(rows);
}

int Get(Command& command, const v1::GetConnectionRequest& request) {
  v1::GetConnectionResponse response;
  const grpc::Status status =
      command.client().GetConnection(request, &response);
  if (!status.ok()) return command.Fail(status);
  if (command.json()) {
    PrintJson(response);
  } else {
    PrintConnection(response.connection());
  }
  return kOk;
}

int Count(Command& command, const v1::CountConnectionsRequest& request) {
  v1::CountConnectionsResponse response;
  const grpc::Status status =
      command.client().CountConnections(request, &response);
  if (!status.ok()) return command.Fail(status);
  if (command.json()) {
    PrintJson(response);
  } else {
    std::cout << response.count() << "\n";
  }
  return kOk;
}

void AddList(CLI::App& connections, Command& command) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* list = connections.add_subcommand(
      "list", "Lists connections in the order in which they came");
  AddNamespace(*list, &options->request, "\"default\"");
  AddFilter(*list, &options->request);
  AddStates(*list, &options->request);
  AddNumber(
      *list, "--limit", 1,
      [options = options.get()](uint64_t limit) { options->limit = limit; },
      "At most so many; without it all");
  list->callback([&command, options] {
    command.action = [&command, options] { return List(command, *options); };
  });
}

void AddGet(CLI::App& connections, Command& command) {
  auto request = std::make_shared<v1::GetConnectionRequest>();
  CLI::App* get = connections.add_subcommand("get", "Shows one connection");
  AddConnectionId(*get, request.get());
  get->callback([&command, request] {
    command.action = [&command, request] { return Get(command, *request); };
  });
}

void AddCount(CLI::App& connections, Command& command) {
  auto request = std::make_shared<v1::CountConnectionsRequest>();
  CLI::App* count =
      connections.add_subcommand("count", "Counts admitted connections");
  AddNamespace(*count, request.get(), "\"default\"");
  AddFilter(*count, request.get());
  count->callback([&command, request] {
    command.action = [&command, request] { return Count(command, *request); };
  });
}

}  // namespace

void AddConnections(CLI::App& app, Command& command) {
  CLI::App* connections =
      AddGroup(app, "connections", "Looks at connections and binds them");
  AddList(*connections, command);
  AddGet(*connections, command);
  AddCount(*connections, command);
  AddWatch(*connections, command);
  AddBind(*connections, command);
}

}  // namespace brokerctl
