// brokerctl: the broker from a shell. See broker/docs/brokerctl.md.

#include <google/protobuf/util/time_util.h>

#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "tools/brokerctl/command.h"
#include "tools/brokerctl/options.h"

namespace brokerctl {
namespace {

using google::protobuf::util::TimeUtil;

constexpr std::chrono::hours kMaxTimeout(24 * 365);

constexpr char kFooter[] = R"(
--address, --timeout, --output and those of TLS and keys may stand behind any command.

Exit codes:
  0  done
  1  the broker refused; the status is on stderr
  2  wrong usage; nothing was done
  3  the broker was not reached, or did not answer in time
  4  asked, and the answer was no; nothing was done
)";

void AddProgramOptions(CLI::App& app, Command& command) {
  app.set_version_flag("--version", "brokerctl " BROKERCTL_VERSION);
  app.add_option("--address", command.address,
                 "Where the broker listens for gRPC, such as "
                 "unix:/run/socket-broker.sock")
      ->envname("SOCKET_BROKER_ADDRESS")
      ->capture_default_str()
      ->type_name("HOST:PORT");
  app.add_flag("--tls", command.tls,
               "Connect with TLS; --ca, --cert and --key do so, too");
  const auto file = [&app](const char* option, const char* variable,
                           std::string& to, const char* description) {
    return app.add_option(option, to, description)
        ->envname(variable)
        ->type_name("FILE");
  };
  file("--ca", "SOCKET_BROKER_CA", command.tls_files.ca,
       "PEM: who signs the broker's certificate; without it the system's");
  file("--cert", "SOCKET_BROKER_CERT", command.tls_files.certificate,
       "PEM: the certificate to show (mTLS)");
  file("--key", "SOCKET_BROKER_KEY", command.tls_files.private_key,
       "PEM: the private key of --cert");
  file("--api-key-file", "SOCKET_BROKER_API_KEY_FILE", command.api_key_file,
       "The API key, in its first line; else SOCKET_BROKER_API_KEY has it");
  app.add_option_function<std::string>(
         "--timeout",
         [&command](const std::string& text) {
           command.timeout =
               std::chrono::milliseconds(TimeUtil::DurationToMilliseconds(
                   ParseDuration("--timeout", text)));
           if (command.timeout > kMaxTimeout) {
             throw CLI::ValidationError(
                 "--timeout", "\"" + text + "\" is too long; allowed is 365d");
           }
         },
         "How long a call may take; without it 10s. A watch has no end")
      ->type_name("DURATION");
  SetChoices(app.add_option("-o,--output", command.output,
                            "For people, or for programs")
                 ->capture_default_str(),
             {"table", "json"});
}

// The command that was meant as far as it is one.
const CLI::App& Deepest(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? app : Deepest(*parsed.front());
}

std::string Path(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent == nullptr ? app.get_name()
                           : Path(*parent) + " " + app.get_name();
}

// CLI11 says only that a subcommand is required.
std::string MissingCommand(const CLI::App& app, const CLI::App& deepest) {
  std::vector<std::string> names;
  for (const CLI::App* sub : deepest.get_subcommands({})) {
    names.push_back(sub->get_name());
  }
  const auto unknown = app.remaining(true);
  return (unknown.empty() ? "a command is missing"
                          : "there is no command \"" + unknown.front() + "\"") +
         "; there are " + CLI::detail::join(names, ", ");
}

int Refuse(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& deepest = Deepest(app);
  const bool wants_command = deepest.get_require_subcommand_min() > 0 &&
                             dynamic_cast<const CLI::RequiredError*>(&error);
  std::cerr << "brokerctl: "
            << (wants_command ? MissingCommand(app, deepest) : error.what())
            << "\nSee " << Path(deepest) << " --help.\n";
  return kUsage;
}

int Run(int argc, char** argv) {
  CLI::App app(
      "Looks after a socket-broker: its connections, who they belong "
      "to, and what is sent to them.",
      "brokerctl");
  Command command;
  // Options of the program are understood behind a command, too.
  app.fallthrough();
  app.require_subcommand(1);
  app.footer(kFooter);
  AddProgramOptions(app, command);
  AddInfo(app, command);
  AddConnections(app, command);
  AddTicket(app, command);
  AddClose(app, command);
  AddRevocations(app, command);
  AddSend(app, command);
  AddAsk(app, command);
  AddKeygen(app, command);
  AddCompletion(app, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    return Refuse(app, error);
  }
  try {
    return command.action();
  } catch (const CLI::ValidationError& error) {
    std::cerr << "brokerctl: " << error.what() << "\n";
    return kUsage;
  }
}

}  // namespace
}  // namespace brokerctl

int main(int argc, char** argv) { return brokerctl::Run(argc, argv); }
