// brokerctl keygen.

#include <openssl/rand.h>
#include <openssl/sha.h>

#include <array>
#include <iostream>
#include <string>

#include "tools/brokerctl/command.h"

namespace brokerctl {
namespace {

// By which a key is known for what it is, in a file or in a log.
constexpr char kPrefix[] = "sbk_";
constexpr size_t kKeyBytes = 32;

std::string Hex(const unsigned char* bytes, size_t size) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < size; ++i) {
    out += kDigits[bytes[i] >> 4];
    out += kDigits[bytes[i] & 15];
  }
  return out;
}

int Generate(const Command& command) {
  std::array<unsigned char, kKeyBytes> random;
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1) {
    std::cerr << "brokerctl: this machine has no random numbers\n";
    return kRefused;
  }
  const std::string key = kPrefix + Hex(random.data(), random.size());
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(),
         digest.data());
  const std::string hash = Hex(digest.data(), digest.size());
  if (command.json()) {
    std::cout << R"({"key": ")" << key << R"(", "key_hash": ")" << hash
              << "\"}\n";
  } else {
    std::cout << "key for the caller, shown this once: " << key << "\n"
              << "line for the broker's configuration: key_hash: \"" << hash
              << "\"\n";
  }
  return kOk;
}

}  // namespace

void AddKeygen(CLI::App& app, Command& command) {
  app.add_subcommand("keygen",
                     "Makes an API key, and its hash for the configuration; "
                     "calls no broker")
      ->callback([&command] {
        command.action = [&command] { return Generate(command); };
      });
}

}  // namespace brokerctl
