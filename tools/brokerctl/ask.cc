// brokerctl ask: a JSON-RPC request to one client.

#include <iostream>
#include <iterator>
#include <memory>

#include "tools/brokerctl/command.h"
#include "tools/brokerctl/options.h"
#include "tools/brokerctl/output.h"

namespace brokerctl {
namespace {

namespace v1 = socketbroker::v1;

int Ask(Command& command, const v1::RequestConnectionRequest& request) {
  v1::RequestConnectionResponse response;
  const grpc::Status status =
      command.client().RequestConnection(request, &response);
  if (!status.ok()) return command.Fail(status);
  const v1::ClientReply& reply = response.reply();
  const bool error = reply.has_error_json();
  if (command.json()) {
    PrintJson(response);
  } else {
    // A client's own words, for a terminal.
    (error ? std::cerr << "the client replied with an error: " : std::cout)
        << Printable(error ? reply.error_json() : reply.result_json()) << "\n";
  }
  return error ? kRefused : kOk;
}

}  // namespace

void AddAsk(CLI::App& app, Command& command) {
  auto request = std::make_shared<v1::RequestConnectionRequest>();
  CLI::App* ask = app.add_subcommand(
      "ask", "Sends a JSON-RPC request to one client and prints its reply");
  AddConnectionId(*ask, request.get());
  AddField(
      *ask, "method",
      [request = request.get()](const auto& name) {
        request->set_method(name);
      },
      "The method")
      ->required();
  AddField(
      *ask, "--params",
      [request = request.get()](const std::string& value) {
        request->set_params_json(
            value == "-"
                ? std::string(std::istreambuf_iterator<char>(std::cin), {})
                : value);
      },
      "Its parameters, a JSON object or array; - reads them from standard "
      "input")
      ->type_name("JSON");
  ask->callback([&command, request] {
    command.action = [&command, request] {
      request->set_want_json(!command.json());
      return Ask(command, *request);
    };
  });
}

}  // namespace brokerctl
