// The daemon's configuration: where it comes from, and what the modules take
// from it. A file, then the environment, then the command line, each over what
// came before.
//
// Pure functions but for the file that is read; for any thread.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "broker/app/config_map.h"
#include "broker/app/config_rules.h"
#include "broker/callout/grpc_callout.h"
#include "broker/control/tls.h"
#include "broker/core/log.h"
#include "broker/hub/settings.h"
#include "broker/ws/tls_context.h"
#include "socketbroker/config/v1/config.pb.h"

namespace broker {

// Kept, so that a reload reads the same sources again.
struct ConfigSources {
  std::string file;  // empty: SOCKET_BROKER_CONFIG, or none
  std::vector<std::pair<std::string, std::string>> environment;  // name, value
  std::vector<Assignment> flags;
  uint64_t descriptor_limit = 0;
  uint64_t memory_limit = 0;  // of the cgroup; 0: there is none
};

// Complete and valid: defaults are filled in. INVALID_ARGUMENT has one line for
// each fault.
absl::StatusOr<Config> LoadConfig(const ConfigSources& sources);

// As YAML that LoadConfig takes.
std::string PrintConfig(const Config& config);

// What differs between the two and cannot be changed while the broker runs: the
// keys, such as "control.port".
std::vector<std::string> KeysThatNeedRestart(const Config& running,
                                             const Config& loaded);
// Gives `loaded` the running values of those keys: what the settings say of the
// listener must be true of the one that there is.
void KeepUntilRestart(const Config& running, Config& loaded);

// Of a complete configuration.
SettingsPtr ToSettings(const Config& config);
// Reads the files of `websocket.tls`; null when it is not set. The error is one
// line, as LoadConfig's.
absl::StatusOr<TlsContextPtr> LoadTls(const Config& config);
// Likewise of `control.tls`.
absl::StatusOr<ControlCertificatesPtr> LoadControlTls(const Config& config);
// What a reload that is loaded may not do to what runs; it is as it was left by
// KeepUntilRestart.
absl::Status CheckReload(const Config& running, const Config& loaded,
                         uint64_t descriptor_limit);
// Reads the files of `callout`; null when it is not set. Likewise.
absl::StatusOr<std::unique_ptr<GrpcCallout>> LoadCallout(const Config& config);
bool WantsReflection(const Config& config);
absl::Duration DrainWindow(const Config& config);
LogLevel ToLogLevel(const Config& config);
LogFormat ToLogFormat(const Config& config);

}  // namespace broker
