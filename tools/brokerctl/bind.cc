// brokerctl connections add, admit and remove.

#include <iostream>
#include <memory>

#include "tools/brokerctl/command.h"
#include "tools/brokerctl/options.h"
#include "tools/brokerctl/output.h"

namespace brokerctl {
namespace {

namespace v1 = socketbroker::v1;

template <typename Response>
int PrintBound(const Command& command, const Response& response) {
  if (command.json()) {
    PrintJson(response);
  } else {
    PrintTable({{"connection", response.connection().connection_id()},
                {"state", StateName(response.connection().state())},
                {"account", response.connection().identity().account_id()},
                {"credential", CredentialName(response.connection())}});
  }
  return kOk;
}

int Add(Command& command, const v1::AddConnectionRequest& request) {
  v1::AddConnectionResponse response;
  const grpc::Status status =
      command.client().AddConnection(request, &response);
  return status.ok() ? PrintBound(command, response) : command.Fail(status);
}

int Admit(Command& command, const v1::AdmitConnectionRequest& request) {
  v1::AdmitConnectionResponse response;
  const grpc::Status status =
      command.client().AdmitConnection(request, &response);
  return status.ok() ? PrintBound(command, response) : command.Fail(status);
}

int Remove(Command& command, const v1::RemoveConnectionRequest& request) {
  v1::RemoveConnectionResponse response;
  const grpc::Status status =
      command.client().RemoveConnection(request, &response);
  if (!status.ok()) return command.Fail(status);
  if (command.json()) {
    PrintJson(response);
  } else {
    std::cout << (response.removed() ? "removed" : "no such connection")
              << "\n";
  }
  return kOk;
}

}  // namespace

void AddBind(CLI::App& connections, Command& command) {
  auto add_request = std::make_shared<v1::AddConnectionRequest>();
  CLI::App* add = connections.add_subcommand(
      "add", "Binds an identity to a pending connection and admits it");
  AddConnectionId(*add, add_request.get());
  AddIdentity(*add, add_request->mutable_identity());
  add->add_flag_callback(
      "--hold", [request = add_request.get()] { request->set_hold(true); },
      "Binds only: the connection stays pending until it is admitted");
  AddNumber(
      *add, "--verified-at-epoch", 0,
      [request = add_request.get()](uint64_t epoch) {
        request->set_verified_at_epoch(epoch);
      },
      "The epoch before the credential was verified; without it the epoch at "
      "which the connection came");
  add->callback([&command, add_request] {
    command.action = [&command, add_request] {
      return Add(command, *add_request);
    };
  });

  auto admit_request = std::make_shared<v1::AdmitConnectionRequest>();
  CLI::App* admit = connections.add_subcommand(
      "admit", "Admits a connection that was bound with --hold");
  AddConnectionId(*admit, admit_request.get());
  admit->callback([&command, admit_request] {
    command.action = [&command, admit_request] {
      return Admit(command, *admit_request);
    };
  });

  auto remove_request = std::make_shared<v1::RemoveConnectionRequest>();
  CLI::App* remove = connections.add_subcommand(
      "remove", "Closes one connection with 1000, and revokes nothing");
  AddConnectionId(*remove, remove_request.get());
  remove->callback([&command, remove_request] {
    command.action = [&command, remove_request] {
      return Remove(command, *remove_request);
    };
  });
}

}  // namespace brokerctl
