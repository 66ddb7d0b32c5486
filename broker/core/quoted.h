// A value from a stranger, as it may stand in an error. Thread-safe.

#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace broker {

// In double quotes, ASCII only, cut where it is long.
std::string Quoted(absl::string_view value);

}  // namespace broker
