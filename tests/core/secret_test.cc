#include "broker/core/secret.h"

#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

TEST(SecretTest, IsTheBase64UrlOf256Bits) {
  const std::string secret = NewSecret();
  EXPECT_EQ(secret.size(), 43u);
  std::string raw;
  ASSERT_TRUE(absl::WebSafeBase64Unescape(secret, &raw));
  EXPECT_EQ(raw.size(), 32u);
}

TEST(SecretTest, IsNeverMadeTwice) {
  absl::flat_hash_set<std::string> seen;
  for (int i = 0; i < 1'000; ++i) EXPECT_TRUE(seen.insert(NewSecret()).second);
}

TEST(SecretTest, FillsAllOfTheBuffer) {
  // A byte that stays zero 64 times over is not filled.
  std::array<uint8_t, 16> all{};
  for (int i = 0; i < 64; ++i) {
    std::array<uint8_t, 16> some{};
    FillRandom(some.data(), some.size());
    for (size_t j = 0; j < some.size(); ++j) all[j] |= some[j];
  }
  for (const uint8_t byte : all) EXPECT_NE(byte, 0);
}

TEST(SecretTest, Sha256AgreesWithTheStandard) {
  const Sha256Digest digest = Sha256("abc");
  EXPECT_EQ(absl::BytesToHexString(absl::string_view(
                reinterpret_cast<const char*>(digest.data()), digest.size())),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace broker
