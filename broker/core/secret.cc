#include "broker/core/secret.h"

#include <openssl/rand.h>
#include <openssl/sha.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/escaping.h"

namespace broker {

void FillRandom(uint8_t* out, size_t size) {
  if (RAND_bytes(out, static_cast<int>(size)) != 1) {
    std::fputs("no randomness from the operating system\n", stderr);
    std::abort();
  }
}

std::string NewSecret() {
  std::array<uint8_t, 32> raw{};
  FillRandom(raw.data(), raw.size());
  std::string text = absl::WebSafeBase64Escape(
      absl::string_view(reinterpret_cast<const char*>(raw.data()), raw.size()));
  while (!text.empty() && text.back() == '=') text.pop_back();
  return text;
}

Sha256Digest Sha256(absl::string_view data) {
  Sha256Digest digest{};
  SHA256(reinterpret_cast<const unsigned char*>(data.data()), data.size(),
         digest.data());
  return digest;
}

}  // namespace broker
