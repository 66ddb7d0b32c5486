#include "broker/core/host_port.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace broker {

std::string HostPort(absl::string_view address, int port) {
  return absl::StrContains(address, ':')
             ? absl::StrCat("[", address, "]:", port)
             : absl::StrCat(address, ":", port);
}

}  // namespace broker
