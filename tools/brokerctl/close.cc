// brokerctl close session, account, token and filter.

#include <unistd.h>

#include <iostream>
#include <memory>

#include "tools/brokerctl/command.h"
#include "tools/brokerctl/options.h"
#include "tools/brokerctl/output.h"

namespace brokerctl {
namespace {

namespace v1 = socketbroker::v1;
using socketbroker::Client;

struct FilterOptions {
  v1::CloseSocketsFilteredRequest request;
  bool yes = false;
};

// The answers of all four closes have the same fields.
template <typename Response>
int PrintClosed(const Command& command, const Response& response,
                bool is_dry_run) {
  if (command.json()) {
    PrintJson(response);
  } else if (is_dry_run) {
    std::cout << "would close " << CountOf(response.closed(), "connection")
              << "\n";
  } else {
    PrintTable(
        {{"closed", std::to_string(response.closed())},
         {"epoch", std::to_string(response.epoch())},
         {"revocation",
          response.revocation_id().empty() ? "-" : response.revocation_id()}});
  }
  return kOk;
}

template <typename Request, typename Response>
int Close(Command& command, Method<Request, Response> method,
          const Request& request) {
  Response response;
  const grpc::Status status =
      (command.client().*method)(request, &response, {});
  if (!status.ok()) return command.Fail(status);
  return PrintClosed(command, response, request.validate_only());
}

// What the operator is asked, after "This closes ".
std::string Describe(const v1::CloseSocketsFilteredRequest& request,
                     uint64_t count) {
  std::string text = CountOf(count, "connection");
  text += request.all_namespaces()   ? " of all namespaces"
          : request.has_namespace_() ? " of namespace " + request.namespace_()
                                     : " of namespace default";
  if (request.has_filter()) text += " that match " + request.filter();
  if (request.fence()) {
    text += ", and refuses new ones for " +
            std::to_string(request.fence_ttl().seconds()) + " s";
  }
  return Printable(text);
}

// Counts, shows the count and asks. kOk: go on.
int Confirm(Command& command, v1::CloseSocketsFilteredRequest request) {
  if (isatty(STDIN_FILENO) == 0) {
    std::cerr << "brokerctl: close filter asks before it closes, and there is "
                 "no terminal to ask on; --yes closes without asking, "
                 "--dry-run only counts\n";
    return kUsage;
  }
  request.set_validate_only(true);
  v1::CloseSocketsFilteredResponse response;
  const grpc::Status status =
      command.client().CloseSocketsFiltered(request, &response);
  if (!status.ok()) return command.Fail(status);
  std::cerr << "This closes " << Describe(request, response.closed())
            << ". Go on? [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  if (answer == "y" || answer == "Y" || answer == "yes") return kOk;
  std::cerr << "brokerctl: nothing was closed\n";
  return kDeclined;
}

int CloseFiltered(Command& command, const FilterOptions& options) {
  const v1::CloseSocketsFilteredRequest& request = options.request;
  if (request.selector_case() == request.SELECTOR_NOT_SET) {
    std::cerr
        << "brokerctl: close filter needs a filter, such as 'labels.region "
           "= \"eu\"', or --all\n";
    return kUsage;
  }
  if (!options.yes && !request.validate_only()) {
    const int answer = Confirm(command, request);
    if (answer != kOk) return answer;
  }
  return Close(command, &Client::CloseSocketsFiltered, request);
}

// The options of all four closes.
template <typename Request>
void AddCommonOptions(CLI::App& app, Request* request,
                      const std::string& namespace_when_unset) {
  AddNamespace(app, request, namespace_when_unset);
  AddDuration(
      app, "--drain-for", [request] { return request->mutable_drain_for(); },
      "Writes what is queued for a client first, for so long: at most 5s");
  AddExcludes(app, request);
  app.add_flag_callback(
      "--dry-run", [request] { request->set_validate_only(true); },
      "Counts what it would close, and closes nothing");
}

template <typename Request>
void AddBlockFor(CLI::App& app, Request* request) {
  AddDuration(
      app, "--block-for", [request] { return request->mutable_block_for(); },
      "Refuses it for so long, even when it was verified later: at most 30d");
}

// Adds `close session`, `close account` or `close token`. Returns the request,
// which lives as long as the command.
template <typename Request, typename Response>
std::pair<CLI::App*, Request*> AddCloseByKey(
    CLI::App& close, Command& command, const std::string& name,
    const std::string& description, const std::string& key,
    void (*set_key)(Request*, const std::string&),
    Method<Request, Response> method) {
  auto request = std::make_shared<Request>();
  CLI::App* app = close.add_subcommand(name, description);
  AddField(
      *app, key,
      [request = request.get(), set_key](const auto& value) {
        set_key(request, value);
      },
      "Whose connections")
      ->required();
  AddCommonOptions(*app, request.get(), "in every namespace");
  AddBlockFor(*app, request.get());
  app->callback([&command, request, method] {
    command.action = [&command, request, method] {
      return Close(command, method, *request);
    };
  });
  return {app, request.get()};
}

void AddCloseFilter(CLI::App& close, Command& command) {
  auto options = std::make_shared<FilterOptions>();
  v1::CloseSocketsFilteredRequest* request = &options->request;
  CLI::App* app = close.add_subcommand(
      "filter",
      "Closes all connections that a filter matches; counts them and asks "
      "first");
  CLI::Option* filter = AddField(
      *app, "filter",
      [request](const auto& text) { request->set_filter(text); },
      "Which connections, such as 'labels.region = \"eu\"'");
  app->add_flag_callback(
         "--all", [request] { request->set_match_all(true); }, "Everybody")
      ->excludes(filter);
  AddCommonOptions(*app, request, "\"default\"");
  app->add_flag_callback(
         "--all-namespaces", [request] { request->set_all_namespaces(true); },
         "In every namespace")
      ->excludes("--namespace");
  AddDuration(
      *app, "--fence-ttl",
      [request] {
        request->set_fence(true);
        return request->mutable_fence_ttl();
      },
      "Also refuses everything that matches, for so long: at most 30d");
  AddNumber(
      *app, "--max-connections", 0,
      [request](uint64_t count) { request->set_max_connections(count); },
      "Closes nothing when more than so many match");
  app->add_flag("--yes,-y", options->yes, "Does not ask");
  app->callback([&command, options] {
    command.action = [&command, options] {
      return CloseFiltered(command, *options);
    };
  });
}

}  // namespace

void AddClose(CLI::App& app, Command& command) {
  CLI::App* close =
      AddGroup(app, "close", "Revokes: closes connections, and keeps them out");
  AddCloseByKey<v1::CloseSocketsForSessionRequest>(
      *close, command, "session", "Closes all connections of a session",
      "token_hash",
      [](auto* request, const auto& value) { request->set_token_hash(value); },
      &Client::CloseSocketsForSession);
  auto [account, request] = AddCloseByKey<v1::CloseSocketsForAccountRequest>(
      *close, command, "account",
      "Closes all connections of an account: session, token and daemon",
      "account_id",
      [](auto* request, const auto& value) { request->set_account_id(value); },
      &Client::CloseSocketsForAccount);
  AddField(
      *account, "--keep-session",
      [request = request](const auto& hash) {
        request->set_keep_token_hash(hash);
      },
      "The one session to spare, as the hash of its token");
  AddCloseByKey<v1::CloseSocketsForTokenRequest>(
      *close, command, "token", "Closes all connections of an API token",
      "api_token_id",
      [](auto* request, const auto& value) {
        request->set_api_token_id(value);
      },
      &Client::CloseSocketsForToken);
  AddCloseFilter(*close, command);
}

}  // namespace brokerctl
