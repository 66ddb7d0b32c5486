// socket-broker: reads the configuration, runs the server, answers signals.

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "broker/app/command_line.h"
#include "broker/app/config.h"
#include "broker/app/config_callers.h"
#include "broker/app/descriptors.h"
#include "broker/app/memory.h"
#include "broker/app/server.h"
#include "broker/control/audit.h"
#include "broker/core/log.h"
#include "broker/core/status_macros.h"

namespace broker {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;

// The signals are taken by main's thread alone: blocked here, before there is
// another, and waited for.
sigset_t BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a journal that may not grow is an error
  return set;
}

bool StopAsked() {
  sigset_t stop;
  sigemptyset(&stop);
  for (const int signal : {SIGTERM, SIGINT}) sigaddset(&stop, signal);
  const timespec now{};
  return sigtimedwait(&stop, nullptr, &now) > 0;
}

std::vector<std::pair<std::string, std::string>> ReadEnvironment() {
  std::vector<std::pair<std::string, std::string>> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t cut = text.find('=');
    if (cut != std::string::npos) {
      all.emplace_back(text.substr(0, cut), text.substr(cut + 1));
    }
  }
  return all;
}

uint32_t Shards(const Config& config) {
  if (config.shards() != 0) return config.shards();
  return std::clamp(std::thread::hardware_concurrency(), 1u, 256u);
}

// What the files say that the configuration names.
struct Certificates {
  TlsContextPtr websocket;
  ControlCertificatesPtr control;
};

absl::StatusOr<Certificates> LoadCertificates(const Config& config) {
  Certificates out;
  BROKER_ASSIGN_OR_RETURN(out.websocket, LoadTls(config));
  BROKER_ASSIGN_OR_RETURN(out.control, LoadControlTls(config));
  return out;
}

ServerOptions ToOptions(const Config& config, Certificates certificates) {
  ServerOptions options;
  options.settings = ToSettings(config);
  options.state_dir = config.state_dir();
  options.version = BROKER_VERSION;
  options.websocket.address = config.websocket().address();
  options.websocket.port = static_cast<uint16_t>(config.websocket().port());
  options.websocket.shards = static_cast<int>(Shards(config));
  options.websocket.tls = std::move(certificates.websocket);
  options.control.address = config.control().address();
  options.control.port = static_cast<uint16_t>(config.control().port());
  options.control.tcp = config.control().tcp();
  options.control.unix_socket = config.control().unix_socket();
  options.control_tls = std::move(certificates.control);
  options.callers = ToCallers(config.control());
  options.control.reflection = WantsReflection(config);
  options.admin_enabled = config.admin().enabled();
  options.admin_address = config.admin().address();
  options.admin_port = static_cast<uint16_t>(config.admin().port());
  return options;
}

void SetLog(const Config& config) {
  SetLogLevel(ToLogLevel(config));
  SetLogFormat(ToLogFormat(config));
  control::SetAuditSends(config.log().audit() ==
                         socketbroker::config::v1::AUDIT_LEVEL_ALL);
}

void ReloadFailed(const absl::Status& faults) {
  Log(LogLevel::kError, "reload_failed",
      "the configuration has faults, and the old one stays in force",
      {{"faults", faults.message()}});
}

void Reload(const ConfigSources& sources, Config& running, Server& server) {
  absl::StatusOr<Config> loaded = LoadConfig(sources);
  if (!loaded.ok()) return ReloadFailed(loaded.status());
  const std::vector<std::string> fixed = KeysThatNeedRestart(running, *loaded);
  if (!fixed.empty()) {
    Log(LogLevel::kWarning, "reload_incomplete",
        "some keys change with a restart only",
        {{"keys", absl::StrJoin(fixed, ", ")}});
  }
  // Else an origin would be judged by a listener that is not there.
  KeepUntilRestart(running, *loaded);
  const absl::Status allowed =
      CheckReload(running, *loaded, sources.descriptor_limit);
  if (!allowed.ok()) return ReloadFailed(allowed);
  const absl::StatusOr<Certificates> certificates = LoadCertificates(*loaded);
  if (!certificates.ok()) return ReloadFailed(certificates.status());
  SetLog(*loaded);
  server.Reload({ToSettings(*loaded), certificates->websocket,
                 certificates->control, ToCallers(loaded->control())});
  running = *loaded;
  Log(LogLevel::kInfo, "reloaded", "the configuration was read again");
}

void LogStarted(const Server& server, const std::string& state_dir) {
  Log(LogLevel::kInfo, "started", "the broker is serving",
      {{"version", BROKER_VERSION},
       {"node_id", server.hub().node_id().ToString()},
       {"websocket_address", server.websocket_address()},
       {"websocket_tls", server.websocket_tls()},
       {"control_address", server.control_address()},
       {"admin_address", server.admin_address()},
       {"epoch", server.hub().epoch()},
       {"durable_revocations", !state_dir.empty()},
       {"pid", getpid()}});
  if (state_dir.empty()) {
    Log(LogLevel::kWarning, "revocations_in_memory",
        "revocations last as long as this process: give it a --state-dir to "
        "keep them");
  }
}

int Run(const ConfigSources& sources, Config config, Certificates certificates,
        std::unique_ptr<GrpcCallout> callout, const sigset_t& signals) {
  Server server(ToOptions(config, std::move(certificates)), std::move(callout));
  const absl::Status started = server.Start();
  if (!started.ok()) {
    Log(LogLevel::kError, "start_failed", started.message());
    return kExitFailed;
  }
  LogStarted(server, config.state_dir());
  for (;;) {
    const int signal = sigwaitinfo(&signals, nullptr);
    if (signal == SIGHUP) {
      Reload(sources, config, server);
    } else if (signal == SIGTERM || signal == SIGINT) {
      break;
    }
  }
  const absl::Duration window = DrainWindow(config);
  Log(LogLevel::kInfo, "draining", "the broker is shutting down",
      {{"window_seconds", absl::ToDoubleSeconds(window)}});
  server.Drain(window, StopAsked);
  Log(LogLevel::kInfo, "stopped", "the broker has stopped");
  return 0;
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "socket-broker: %s\n",
               std::string(status.message()).c_str());
  return kExitUsage;
}

int Main(const std::vector<std::string>& arguments) {
  absl::StatusOr<CommandLine> line =
      ParseCommandLine(arguments, BROKER_VERSION);
  if (!line.ok()) return Fail(line.status());
  if (line->action == CommandLine::Action::kPrintText) {
    std::fputs(line->text.c_str(), stdout);
    return 0;
  }
  const sigset_t signals = BlockSignals();
  ConfigSources sources;
  sources.file = line->config_file;
  sources.environment = ReadEnvironment();
  sources.flags = line->assignments;
  sources.descriptor_limit = RaiseDescriptorLimit();
  sources.memory_limit = CgroupMemoryLimit("/");
  absl::StatusOr<Config> config = LoadConfig(sources);
  if (!config.ok()) return Fail(config.status());
  absl::StatusOr<Certificates> certificates = LoadCertificates(*config);
  if (!certificates.ok()) return Fail(certificates.status());
  auto callout = LoadCallout(*config);
  if (!callout.ok()) return Fail(callout.status());
  switch (line->action) {
    case CommandLine::Action::kCheckConfig:
      std::puts("OK");
      return 0;
    case CommandLine::Action::kPrintConfig:
      std::fputs(PrintConfig(*config).c_str(), stdout);
      return 0;
    default:
      break;
  }
  SetLog(*config);
  return Run(sources, *std::move(config), *std::move(certificates),
             *std::move(callout), signals);
}

}  // namespace
}  // namespace broker

int main(int argc, char** argv) {
  return broker::Main({argv + 1, argv + argc});
}
