// brokerctl connections watch.

#include <iostream>
#include <limits>
#include <memory>

#include "tools/brokerctl/command.h"
#include "tools/brokerctl/options.h"
#include "tools/brokerctl/output.h"

namespace brokerctl {
namespace {

namespace v1 = socketbroker::v1;

struct WatchOptions {
  v1::WatchConnectionsRequest request;
  uint64_t limit = std::numeric_limits<uint64_t>::max();
};

void PrintChange(const char* change, const v1::Connection& connection,
                 const std::string& why = "") {
  const v1::Identity& identity = connection.identity();
  const std::string account =
      identity.has_account_id() ? identity.account_id() : "-";
  std::cout << change << "  " << Printable(connection.connection_id()) << "  "
            << StateName(connection.state()) << "  " << Printable(account)
            << "  " << Printable(CredentialName(connection)) << "  "
            << Printable(connection.endpoint()) << "  "
            << RemoteName(connection) << why << std::endl;
}

void PrintRemoved(const v1::RemovedConnection& removed) {
  const bool closed = removed.reason() == v1::RemovedConnection::REASON_CLOSED;
  PrintChange("removed", removed.connection(),
              closed ? "  closed " + std::to_string(removed.close_code())
                     : "  left the filter");
}

void PrintEvent(const v1::WatchConnectionsResponse& response) {
  switch (response.event_case()) {
    case v1::WatchConnectionsResponse::kAdded:
      return PrintChange("added  ", response.added());
    case v1::WatchConnectionsResponse::kUpdated:
      return PrintChange("updated", response.updated());
    case v1::WatchConnectionsResponse::kRemoved:
      return PrintRemoved(response.removed());
    case v1::WatchConnectionsResponse::kSnapshotEnd:
      std::cout << "---" << std::endl;
      return;
    default:
      // Of a newer broker.
      return;
  }
}

int Watch(Command& command, const WatchOptions& options) {
  const auto watch = command.client().WatchConnections(options.request);
  v1::WatchConnectionsResponse response;
  for (uint64_t count = 0; count < options.limit; ++count) {
    if (!watch->Read(&response)) {
      const grpc::Status status = watch->Finish();
      return status.ok() ? kOk : command.Fail(status);
    }
    if (command.json()) {
      PrintJsonLine(response);
    } else {
      PrintEvent(response);
    }
  }
  return kOk;
}

}  // namespace

void AddWatch(CLI::App& connections, Command& command) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* watch = connections.add_subcommand(
      "watch", "Shows the connections that there are, then every change");
  AddNamespace(*watch, &options->request, "\"default\"");
  AddFilter(*watch, &options->request);
  AddStates(*watch, &options->request);
  AddField(
      *watch, "--resume-token",
      [options = options.get()](const auto& token) {
        options->request.set_resume_token(token);
      },
      "Goes on behind the line with this resumeToken (see -o json)");
  AddNumber(
      *watch, "--limit", 1,
      [options = options.get()](uint64_t limit) { options->limit = limit; },
      "Ends after so many lines; without it never");
  watch->callback([&command, options] {
    command.action = [&command, options] { return Watch(command, *options); };
  });
}

}  // namespace brokerctl
