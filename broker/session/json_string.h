// The strings of a JSON text (RFC 8259 section 7). For broker/session only; a
// pure function.

#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace broker::internal {

// Takes the string that `rest` begins with, quotes included. False: there is
// none, or it is not what the standard allows, UTF-8 and pairs of surrogates
// included. `raw` is the string as it stands there, `string` what it means: a
// view into the text, or into `scratch` when it had to be decoded.
bool TakeJsonString(absl::string_view& rest, absl::string_view& raw,
                    absl::string_view& string, std::string& scratch);

}  // namespace broker::internal
