// Identity packs its fields: what goes in must come out.

#include "broker/core/identity.h"

#include <random>

#include "gtest/gtest.h"

namespace broker {
namespace {

std::string Text(std::mt19937& random, size_t max) {
  return std::string(random() % (max + 1),
                     static_cast<char>('a' + random() % 3));
}

IdentityFields RandomFields(std::mt19937& random) {
  IdentityFields fields;
  fields.account_id = "a" + Text(random, 255);
  if (random() % 3 == 0) {
    fields.token_hash = Text(random, 64);
  } else if (random() % 2 == 0) {
    fields.api_token_id = Text(random, 64);
  }
  for (size_t i = random() % 4; i > 0; --i) {
    fields.labels.emplace_back("k" + std::to_string(9 - i), Text(random, 20));
  }
  for (size_t i = random() % 6; i > 0; --i) {
    fields.groups.push_back("g" + std::to_string(9 - i) + Text(random, 20));
  }
  if (random() % 2 == 0) fields.expires_at = absl::FromUnixSeconds(random());
  return fields;
}

void ExpectSame(const IdentityFields& a, const IdentityFields& b) {
  EXPECT_EQ(a.account_id, b.account_id);
  EXPECT_EQ(a.token_hash, b.token_hash);
  EXPECT_EQ(a.api_token_id, b.api_token_id);
  EXPECT_EQ(a.labels, b.labels);
  EXPECT_EQ(a.groups, b.groups);
  EXPECT_EQ(a.expires_at, b.expires_at);
}

TEST(IdentityTest, GivesBackWhatItWasMadeOf) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    const IdentityFields fields = RandomFields(random);
    const IdentityPtr identity = Identity::Make(fields);
    ExpectSame(identity->fields(), fields);
    EXPECT_EQ(identity->account_id(), fields.account_id);
    EXPECT_EQ(identity->token_hash(), fields.token_hash);
    EXPECT_EQ(identity->api_token_id(), fields.api_token_id);
    EXPECT_EQ(*identity, *Identity::Make(fields));
    for (const auto& [key, value] : fields.labels) {
      EXPECT_EQ(identity->FindLabel(key), value);
    }
    EXPECT_EQ(identity->FindLabel("k"), std::nullopt);
    const std::string from = "g" + std::to_string(random() % 10);
    const auto at =
        std::lower_bound(fields.groups.begin(), fields.groups.end(), from);
    EXPECT_EQ(identity->FindGroupFrom(from),
              static_cast<size_t>(at - fields.groups.begin()));
  }
}

TEST(IdentityTest, TellsApartWhatDiffersInOneField) {
  IdentityFields fields;
  fields.account_id = "ab";
  fields.labels = {{"k", "v"}};
  fields.groups = {"g"};
  const IdentityPtr identity = Identity::Make(fields);
  const auto differs = [&](auto change) {
    IdentityFields changed = fields;
    change(changed);
    return !(*Identity::Make(changed) == *identity);
  };
  using F = IdentityFields;
  EXPECT_FALSE(differs([](F&) {}));
  EXPECT_TRUE(differs([](F& f) { f.account_id = "a"; }));
  EXPECT_TRUE(differs([](F& f) { f.token_hash = ""; }));
  EXPECT_TRUE(differs([](F& f) { f.api_token_id = "t"; }));
  EXPECT_TRUE(differs([](F& f) { f.labels = {{"kv", ""}}; }));
  EXPECT_TRUE(differs([](F& f) { f.labels.clear(); }));
  EXPECT_TRUE(differs([](F& f) { f.groups = {"g", "h"}; }));
  EXPECT_TRUE(differs([](F& f) { f.expires_at = absl::UnixEpoch(); }));
}

TEST(IdentityTest, HoldsTheMostThatItMay) {
  IdentityFields fields;
  fields.account_id = std::string(256, 'a');
  fields.token_hash = std::string(256, 's');
  for (int i = 100; i < 164; ++i) {
    fields.labels.emplace_back(std::to_string(i) + std::string(61, 'k'),
                               std::string(256, 'v'));
  }
  for (int i = 100; i < 228; ++i) {
    fields.groups.push_back(std::to_string(i) + std::string(253, 'g'));
  }
  ExpectSame(Identity::Make(fields)->fields(), fields);
}

}  // namespace
}  // namespace broker
