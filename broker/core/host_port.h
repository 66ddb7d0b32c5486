// An address and a port as one text: "127.0.0.1:80", "[::1]:80".

#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace broker {

std::string HostPort(absl::string_view address, int port);

}  // namespace broker
