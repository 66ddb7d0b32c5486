#include "broker/app/config_env.h"

#include <unistd.h>

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "broker/app/wording.h"
#include "socketbroker/config/v1/config.pb.h"

namespace broker {
namespace {

constexpr char kPrefix[] = "SOCKET_BROKER_";
constexpr char kFile[] = "SOCKET_BROKER_CONFIG";
constexpr char kBrokerctl[] = "SOCKET_BROKER_ADDRESS";

// Kubernetes gives every pod variables for each service of its namespace, and
// calls them after the service: one named socket-broker must not keep the
// broker from starting, nor one named socket-broker-admin set its port.
bool IsFromKubernetes(absl::string_view name, absl::string_view value) {
  if (absl::EndsWith(name, "_SERVICE_HOST") ||
      absl::EndsWith(name, "_SERVICE_PORT") ||
      absl::StrContains(name, "_SERVICE_PORT_")) {
    return true;
  }
  if (absl::StartsWith(value, "tcp://") || absl::StartsWith(value, "udp://") ||
      absl::StartsWith(value, "sctp://")) {
    return true;
  }
  return absl::EndsWith(name, "_TCP_PROTO") ||
         absl::EndsWith(name, "_TCP_PORT") ||
         absl::EndsWith(name, "_TCP_ADDR") ||
         absl::EndsWith(name, "_UDP_PROTO") ||
         absl::EndsWith(name, "_UDP_PORT") || absl::EndsWith(name, "_UDP_ADDR");
}

// Paths by the names of their variables.
std::map<std::string, std::string> Variables() {
  std::map<std::string, std::string> variables;
  for (const std::string& path :
       AssignablePaths(*socketbroker::config::v1::Config::descriptor())) {
    variables[absl::StrCat(kPrefix, absl::AsciiStrToUpper(absl::StrReplaceAll(
                                        path, {{".", "_"}})))] = path;
  }
  return variables;
}

}  // namespace

Environment ReadEnvironment() {
  Environment out;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const absl::string_view text = *variable;
    const size_t equals = text.find('=');
    if (!absl::StartsWith(text, kPrefix) || equals == absl::string_view::npos) {
      continue;
    }
    out.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<Assignment> FromEnvironment(const Environment& environment,
                                        Faults& faults) {
  const std::map<std::string, std::string> variables = Variables();
  std::vector<Assignment> out;
  for (const auto& [name, value] : environment) {
    if (!absl::StartsWith(name, kPrefix) || name == kFile ||
        name == kBrokerctl || IsFromKubernetes(name, value)) {
      continue;
    }
    const auto it = variables.find(name);
    if (it != variables.end()) {
      out.push_back({name, it->second, value});
      continue;
    }
    std::vector<std::string> names;
    names.reserve(variables.size());
    for (const auto& [known, path] : variables) names.push_back(known);
    // Compared without the prefix, or everything would be near.
    for (std::string& known : names) known.erase(0, sizeof(kPrefix) - 1);
    const std::string nearest =
        Nearest(absl::string_view(name).substr(sizeof(kPrefix) - 1), names);
    faults.push_back(absl::StrCat(
        name, ": there is no such variable",
        nearest.empty()
            ? "; --print-config shows the keys"
            : absl::StrCat("; did you mean ", kPrefix, nearest, "?")));
  }
  return out;
}

std::string ConfigFileFrom(const Environment& environment) {
  for (const auto& [name, value] : environment) {
    if (name == kFile) return value;
  }
  return "";
}

}  // namespace broker
