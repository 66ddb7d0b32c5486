#include "broker/app/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <exception>
#include <list>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "broker/core/quoted.h"

namespace broker {
namespace {

constexpr char kFooter[] =
    "\nEach key of the configuration is also a variable: websocket.port is\n"
    "SOCKET_BROKER_WEBSOCKET_PORT, and SOCKET_BROKER_CONFIG names the file.\n"
    "Flags win over variables, variables over the file. Without any of them\n"
    "the broker serves ws://127.0.0.1:8080/ws, and gRPC on 127.0.0.1:50051.\n"
    "\n"
    "Signals: TERM or INT drains and exits, a second one exits at once; HUP\n"
    "reads the configuration again.\n"
    "Exit codes: 0 done, 1 could not serve, 2 bad flags or configuration.\n";

// Flags for single keys, all of which --set can set, too.
struct NamedFlag {
  const char* name;
  const char* path;
  const char* help;
};
constexpr NamedFlag kNamedFlags[] = {
    {"--address", "websocket.address", "IP address for clients"},
    {"--websocket-port", "websocket.port", "Port for clients; 0: any"},
    {"--control-port", "control.port", "Port for gRPC; 0: any"},
    {"--admin-port", "admin.port", "Port for admin HTTP; 0: any"},
    {"--shards", "shards", "Threads that hold connections; 0: all cores"},
    {"--state-dir", "state_dir", "Directory that keeps revocations"},
    {"--log-level", "log.level", "debug, info, warning or error"},
    {"--log-format", "log.format", "auto, json or text"},
};

// "a.b=value", from --set.
absl::Status AddSetting(const std::string& text,
                        std::vector<Assignment>& assignments) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--set: ", Quoted(text),
                     " is not allowed; allowed is KEY=VALUE, such as "
                     "limits.max_connections=1000"));
  }
  assignments.push_back(
      {"--set", text.substr(0, equals), text.substr(equals + 1)});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(
    const std::vector<std::string>& arguments, const std::string& version) {
  CommandLine out;
  CLI::App app("Holds the WebSocket connections of an application's users.",
               "socket-broker");
  app.footer(kFooter);
  bool check = false;
  bool print = false;
  bool show_version = false;
  std::vector<std::string> settings;
  app.add_option("--config", out.config_file, "The configuration, YAML or JSON")
      ->type_name("FILE");
  app.add_option("--set", settings, "Sets one key; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  std::list<std::string> values;
  std::vector<std::pair<const NamedFlag*, CLI::Option*>> named;
  for (const NamedFlag& flag : kNamedFlags) {
    values.emplace_back();
    named.emplace_back(&flag,
                       app.add_option(flag.name, values.back(), flag.help)
                           ->type_name("VALUE"));
  }
  app.add_flag("--check-config", check, "Says whether it is valid, and exits");
  app.add_flag("--print-config", print,
               "Prints it with all defaults, and exits");
  app.add_flag("--version", show_version, "Prints the version, and exits");

  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    out.action = CommandLine::Action::kPrintText;
    out.text = app.help();
    return out;
  } catch (const std::exception& e) {
    return absl::InvalidArgumentError(
        absl::StrCat(absl::StripAsciiWhitespace(e.what()),
                     "\nRun with --help for the flags."));
  }

  if (show_version) {
    out.action = CommandLine::Action::kPrintText;
    out.text = absl::StrCat("socket-broker ", version, "\n");
    return out;
  }
  for (const std::string& text : settings) {
    const absl::Status status = AddSetting(text, out.assignments);
    if (!status.ok()) return status;
  }
  for (const auto& [flag, option] : named) {
    if (option->count() == 0) continue;
    out.assignments.push_back(
        {flag->name, flag->path, option->results().back()});
  }
  out.action = print   ? CommandLine::Action::kPrintConfig
               : check ? CommandLine::Action::kCheckConfig
                       : CommandLine::Action::kRun;
  return out;
}

}  // namespace broker
