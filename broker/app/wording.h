// How the app quotes people back to themselves. Pure functions, for any thread.

#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace broker {

// The candidate that `text` was probably meant to be; empty: none is near.
std::string Nearest(absl::string_view text,
                    const std::vector<std::string>& candidates);

}  // namespace broker
