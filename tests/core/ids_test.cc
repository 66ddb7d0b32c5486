#include "broker/core/ids.h"

#include <cctype>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

const absl::Time kNow = absl::FromUnixMillis(0x018f3a1c7b2e);

TEST(UuidTest, HasTimeVersionVariantAndTag) {
  const Uuid id = Uuid::Make(kNow, 0x2a);
  const std::string text = id.ToString();
  ASSERT_EQ(text.size(), 36u);
  EXPECT_EQ(text.substr(0, 13), "018f3a1c-7b2e");
  EXPECT_EQ(text[14], '7');
  EXPECT_NE(std::string("89ab").find(text[19]), std::string::npos);
  EXPECT_EQ(text.substr(34), "2a");
  EXPECT_EQ(id.tag(), 0x2a);
}

TEST(UuidTest, TextIsParsedBackInEitherCase) {
  const Uuid id = Uuid::Make(kNow);
  std::string text = id.ToString();
  EXPECT_EQ(Uuid::Parse(text).value(), id);
  for (char& c : text) c = static_cast<char>(std::toupper(c));
  EXPECT_EQ(Uuid::Parse(text).value(), id);
}

TEST(UuidTest, RefusesWhatIsNoUuid) {
  for (const char* text : {"", "018f3a1c", "018f3a1c7b2e7c119a523f1f6f0b2a00",
                           "018f3a1c-7b2e-7c11-9a52-3f1f6f0b2a0",
                           "018f3a1c-7b2e-7c11-9a52-3f1f6f0b2a000",
                           "018f3a1c-7b2e-7c11-9a52-3f1f6f0b2a0g",
                           "018f3a1c+7b2e-7c11-9a52-3f1f6f0b2a00",
                           "-018f3a1c7b2e-7c11-9a52-3f1f6f0b2a00",
                           "{18f3a1c-7b2e-7c11-9a52-3f1f6f0b2a0}"}) {
    EXPECT_EQ(Uuid::Parse(text).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
}

TEST(UuidTest, AscendsWithinAMillisecondAndWhenTheClockIsSetBack) {
  const absl::Time later = absl::FromUnixMillis(0x028f3a1c7b2e);
  Uuid last = Uuid::Make(later);
  // More than the counter of one millisecond holds.
  for (int i = 0; i < 10'000; ++i) {
    const Uuid next = Uuid::Make(i % 2 == 0 ? later : kNow);
    ASSERT_LT(last, next) << i;
    last = next;
  }
}

TEST(UuidTest, IsNeverMadeTwice) {
  absl::flat_hash_set<Uuid> seen;
  for (int i = 0; i < 10'000; ++i) {
    EXPECT_TRUE(seen.insert(Uuid::Make(kNow)).second);
  }
}

TEST(UuidTest, NilIsBeforeEveryOther) {
  EXPECT_TRUE(Uuid().IsNil());
  EXPECT_LT(Uuid(), Uuid::Make(kNow));
  EXPECT_EQ(Uuid().ToString(), "00000000-0000-0000-0000-000000000000");
  EXPECT_TRUE(Uuid::Parse(Uuid().ToString()).value().IsNil());
}

}  // namespace
}  // namespace broker
