// brokerctl send account, connection and all, and brokerctl broadcast.

#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>

#include "tools/brokerctl/command.h"
#include "tools/brokerctl/options.h"
#include "tools/brokerctl/output.h"

namespace brokerctl {
namespace {

namespace v1 = socketbroker::v1;
using socketbroker::Client;

constexpr char kStandardInput[] = "-";

std::string ReadAll(std::istream& in) {
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string TextOrInput(const std::string& value) {
  return value == kStandardInput ? ReadAll(std::cin) : value;
}

std::string ReadFile(const std::string& option, const std::string& path) {
  if (path == kStandardInput) return ReadAll(std::cin);
  std::ifstream file(path, std::ios::binary);
  std::string content = ReadAll(file);
  if (!file) {
    throw CLI::ValidationError(option, "cannot read \"" + path + "\"");
  }
  return content;
}

const char* OutcomeName(v1::SendOutcome outcome) {
  switch (outcome) {
    case v1::SEND_OUTCOME_QUEUED:
      return "queued";
    case v1::SEND_OUTCOME_DROPPED_SLOW:
      return "dropped: too slow";
    case v1::SEND_OUTCOME_EXPIRED:
      return "expired";
    default:
      return "unknown";
  }
}

template <typename Response>
void PrintSent(const Response& response) {
  PrintTable({{"matched", std::to_string(response.matched())},
              {"queued", std::to_string(response.queued())},
              {"dropped, too slow", std::to_string(response.dropped_slow())}});
  if (response.outcomes().empty()) return;
  std::vector<Row> rows = {{"CONNECTION", "OUTCOME"}};
  for (const v1::ConnectionOutcome& outcome : response.outcomes()) {
    rows.push_back({outcome.connection_id(), OutcomeName(outcome.outcome())});
  }
  std::cout << "\n";
  PrintTable(rows);
}

void PrintSent(const v1::SendToConnectionResponse& response) {
  std::cout << OutcomeName(response.outcome()) << "\n";
}

template <typename Request, typename Response>
int Deliver(Command& command, Method<Request, Response> method,
            const Request& request) {
  Response response;
  const grpc::Status status =
      (command.client().*method)(request, &response, {});
  if (!status.ok()) return command.Fail(status);
  if (command.json()) {
    PrintJson(response);
  } else {
    PrintSent(response);
  }
  return kOk;
}

v1::SlowPolicy ToSlowPolicy(const std::string& word) {
  return word == "drop"     ? v1::SLOW_POLICY_DROP
         : word == "latest" ? v1::SLOW_POLICY_LATEST
                            : v1::SLOW_POLICY_CLOSE;
}

// --ttl, --slow-policy, --conflation-key.
void AddMessageOptions(CLI::App& app, v1::Message* message) {
  AddDuration(
      app, "--ttl", [message] { return message->mutable_ttl(); },
      "How long it is of use, 1ms to 1h; then it is not sent any more");
  SetChoices(AddField(
                 app, "--slow-policy",
                 [message](const auto& word) {
                   message->set_slow_policy(ToSlowPolicy(word));
                 },
                 "What it does where a client reads too slowly; close unless "
                 "given"),
             {"close", "drop", "latest"});
  AddField(
      app, "--conflation-key",
      [message](const auto& key) { message->set_conflation_key(key); },
      "With --slow-policy latest: what this message tells the newest of");
}

// --text, --json-method with --params, or --binary-file: exactly one.
void AddMessage(CLI::App& app, v1::Message* message) {
  AddMessageOptions(app, message);
  CLI::Option* text = AddField(
      app, "--text",
      [message](const std::string& value) {
        const std::string content = TextOrInput(value);
        if (!IsUtf8(content)) {
          throw CLI::ValidationError(
              "--text", "is not valid UTF-8; --binary-file sends any bytes");
        }
        message->set_text(content);
      },
      "A text message; - reads it from standard input");
  CLI::Option* method = AddField(
      app, "--json-method",
      [message](const auto& name) {
        message->mutable_notification()->set_method(name);
      },
      "A JSON-RPC notification: its method");
  AddField(
      app, "--params",
      [message](const std::string& value) {
        message->mutable_notification()->set_params_json(TextOrInput(value));
      },
      "Its parameters, a JSON object or array; - reads them from standard "
      "input")
      ->needs(method)
      ->type_name("JSON");
  CLI::Option* file = AddField(
      app, "--binary-file",
      [message](const std::string& path) {
        message->set_binary(ReadFile("--binary-file", path));
      },
      "A binary message; - reads it from standard input");
  file->type_name("FILE");
  text->excludes(method)->excludes(file);
  method->excludes(file);
}

template <typename Request, typename Response>
void SetAction(CLI::App& app, Command& command,
               const std::shared_ptr<Request>& request,
               Method<Request, Response> method) {
  app.callback([&command, request, method] {
    if (request->message().content_case() == v1::Message::CONTENT_NOT_SET) {
      throw CLI::RequiredError(
          "One of --text, --json-method and --binary-file");
    }
    command.action = [&command, request, method] {
      return Deliver(command, method, *request);
    };
  });
}

// The options of what goes to many.
template <typename Request>
void AddFanOutOptions(CLI::App& app, Request* request) {
  AddNamespace(app, request, "\"default\"");
  AddMessage(app, request->mutable_message());
  AddExcludes(app, request);
  app.add_flag_callback(
      "--outcomes", [request] { request->set_include_outcomes(true); },
      "Also shows what became of it for each connection");
}

void AddBroadcast(CLI::App& app, Command& command) {
  auto request = std::make_shared<v1::BroadcastFilteredRequest>();
  CLI::App* broadcast = app.add_subcommand(
      "broadcast", "Sends to every admitted connection that a filter matches");
  AddField(
      *broadcast, "--filter",
      [request = request.get()](const auto& text) {
        request->set_filter(text);
      },
      "Which connections, such as 'groups:\"beta\"'")
      ->required();
  AddFanOutOptions(*broadcast, request.get());
  SetAction(*broadcast, command, request, &Client::BroadcastFiltered);
}

}  // namespace

void AddSend(CLI::App& app, Command& command) {
  CLI::App* send = AddGroup(app, "send", "Sends a message");

  auto to_account = std::make_shared<v1::SendToAccountRequest>();
  CLI::App* account = send->add_subcommand(
      "account", "Sends to every admitted connection of an account");
  AddField(
      *account, "account_id",
      [request = to_account.get()](const auto& id) {
        request->set_account_id(id);
      },
      "The account")
      ->required();
  AddFanOutOptions(*account, to_account.get());
  SetAction(*account, command, to_account, &Client::SendToAccount);

  auto to_connection = std::make_shared<v1::SendToConnectionRequest>();
  CLI::App* connection =
      send->add_subcommand("connection", "Sends to one connection");
  AddConnectionId(*connection, to_connection.get());
  AddMessage(*connection, to_connection->mutable_message());
  SetAction(*connection, command, to_connection, &Client::SendToConnection);

  auto to_all = std::make_shared<v1::SendRequest>();
  CLI::App* all = send->add_subcommand(
      "all", "Sends to every admitted connection of a namespace");
  AddFanOutOptions(*all, to_all.get());
  SetAction(*all, command, to_all, &Client::Send);

  AddBroadcast(app, command);
}

}  // namespace brokerctl
