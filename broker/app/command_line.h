// The daemon's command line. Pure functions, for any thread.

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/app/config_map.h"

namespace broker {

struct CommandLine {
  enum class Action {
    kRun,
    kCheckConfig,
    kPrintConfig,
    kPrintText,  // --help, --version
  };

  Action action = Action::kRun;
  std::string text;  // of kPrintText
  std::string config_file;
  std::vector<Assignment> assignments;
};

// `arguments` is without the program's name. INVALID_ARGUMENT says what is not
// understood, with the values left to LoadConfig.
absl::StatusOr<CommandLine> ParseCommandLine(
    const std::vector<std::string>& arguments, const std::string& version);

}  // namespace broker
