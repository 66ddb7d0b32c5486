// The opaque tokens of the API: they carry a position and are bound to the
// request that they were given for. Not secrets. Thread-safe.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace broker {

// `binding` is whatever must be the same in the next request; the token keeps
// its hash.
std::string MakeToken(absl::string_view binding, absl::string_view position);

// The position. INVALID_ARGUMENT that names the field when the token was not
// made by MakeToken, or with another binding. Anybody can do what MakeToken
// does, so a position may be anything.
absl::StatusOr<std::string> ReadToken(absl::string_view field,
                                      absl::string_view token,
                                      absl::string_view binding);

// Numbers as a position.
std::string PackNumbers(const std::vector<uint64_t>& numbers);
std::vector<uint64_t> UnpackNumbers(absl::string_view packed);

}  // namespace broker
