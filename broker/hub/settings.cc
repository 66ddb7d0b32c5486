#include "broker/hub/settings.h"

#include <algorithm>

namespace broker {

const EndpointSettings* Settings::FindEndpoint(absl::string_view path) const {
  for (const EndpointSettings& e : endpoints) {
    if (e.path == path) return &e;
  }
  return nullptr;
}

const EndpointSettings* Settings::FindNamespace(absl::string_view ns) const {
  for (const EndpointSettings& e : endpoints) {
    if (e.ns == ns) return &e;
  }
  return nullptr;
}

uint64_t Settings::MaxMessageBytes(absl::string_view ns) const {
  uint64_t most = 0;
  for (const EndpointSettings& e : endpoints) {
    if (e.ns == ns) most = std::max(most, e.max_message_bytes);
  }
  return most;
}

std::vector<std::string> Settings::Namespaces() const {
  std::vector<std::string> names;
  for (const EndpointSettings& e : endpoints) {
    if (std::find(names.begin(), names.end(), e.ns) == names.end()) {
      names.push_back(e.ns);
    }
  }
  return names;
}

}  // namespace broker
