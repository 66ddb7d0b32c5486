// brokerctl ticket create.

#include <memory>

#include "tools/brokerctl/command.h"
#include "tools/brokerctl/options.h"
#include "tools/brokerctl/output.h"

namespace brokerctl {
namespace {

namespace v1 = socketbroker::v1;

int Create(Command& command, v1::CreateTicketRequest& request) {
  if (!request.has_verified_at_epoch()) {
    // Not CreateTicketVerified: after a revocation the operator decides anew.
    v1::GetBrokerInfoResponse info;
    const grpc::Status status = command.client().GetBrokerInfo({}, &info);
    if (!status.ok()) return command.Fail(status);
    request.set_verified_at_epoch(info.epoch());
  }
  v1::CreateTicketResponse response;
  const grpc::Status status = command.client().CreateTicket(request, &response);
  if (!status.ok()) return command.Fail(status);
  if (command.json()) {
    PrintJson(response);
  } else {
    PrintTable({{"ticket", response.ticket()},
                {"expires", TimeName(response.expire_time())},
                {"epoch", std::to_string(response.epoch())}});
  }
  return kOk;
}

}  // namespace

void AddTicket(CLI::App& app, Command& command) {
  CLI::App* ticket =
      AddGroup(app, "ticket", "Mints tickets, with which a client connects");
  auto request = std::make_shared<v1::CreateTicketRequest>();
  CLI::App* create = ticket->add_subcommand(
      "create", "Mints a ticket for one connection; it is shown this once");
  AddNamespace(*create, request.get(), "\"default\"");
  AddIdentity(*create, request->mutable_identity());
  AddDuration(
      *create, "--ttl",
      [request = request.get()] { return request->mutable_ttl(); },
      "How long it may be presented: at most 60s; without it 30s");
  AddRepeated(
      *create, "--origin",
      [request = request.get()](const std::string& origin) {
        request->add_allowed_origins(origin);
      },
      "An Origin that may present it; may be given many times");
  AddNumber(
      *create, "--verified-at-epoch", 0,
      [request = request.get()](uint64_t epoch) {
        request->set_verified_at_epoch(epoch);
      },
      "The epoch before the credential was verified; without it the current");
  create->callback([&command, request] {
    command.action = [&command, request] { return Create(command, *request); };
  });
}

}  // namespace brokerctl
