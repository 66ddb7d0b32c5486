// Random bytes and hashes for what must not be guessed. Thread-safe.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace broker {

// Fills from the operating system's generator. Dies when there is none: a
// predictable secret is worse than no service.
void FillRandom(uint8_t* out, size_t size);

// 256 random bits as 43 characters of base64url without padding.
std::string NewSecret();

using Sha256Digest = std::array<uint8_t, 32>;
Sha256Digest Sha256(absl::string_view data);

}  // namespace broker
