#include "broker/session/pending_inbound.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

TEST(PendingInboundTest, GivesBackInOrder) {
  PendingInbound pending(100);
  EXPECT_TRUE(pending.empty());
  EXPECT_TRUE(pending.Push({Opcode::kText, "a"}));
  EXPECT_TRUE(pending.Push({Opcode::kBinary, ""}));
  EXPECT_TRUE(pending.Push({Opcode::kText, "ccc"}));
  EXPECT_EQ(pending.bytes(), 4u);
  const auto taken = pending.Take();
  ASSERT_EQ(taken.size(), 3u);
  EXPECT_EQ(taken[0].payload, "a");
  EXPECT_EQ(taken[1].opcode, Opcode::kBinary);
  EXPECT_EQ(taken[2].payload, "ccc");
  EXPECT_TRUE(pending.empty());
  EXPECT_EQ(pending.bytes(), 0u);
}

TEST(PendingInboundTest, HoldsAtMost256Messages) {
  PendingInbound pending(1000);
  for (int i = 0; i < 256; ++i) {
    ASSERT_TRUE(pending.Push({Opcode::kText, absl::StrCat(i)})) << i;
  }
  EXPECT_FALSE(pending.Push({Opcode::kText, ""}));
  const auto taken = pending.Take();
  ASSERT_EQ(taken.size(), 256u);
  EXPECT_EQ(taken[255].payload, "255");
  EXPECT_TRUE(pending.Push({Opcode::kText, ""}));
}

TEST(PendingInboundTest, HoldsAtMostFourTimesTheMessageLimit) {
  PendingInbound pending(100);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(pending.Push({Opcode::kBinary, std::string(100, 'x')}));
  }
  EXPECT_FALSE(pending.Push({Opcode::kBinary, std::string(101, 'x')}));
  EXPECT_EQ(pending.bytes(), 300u) << "nothing of a refused one is kept";
  EXPECT_TRUE(pending.Push({Opcode::kBinary, std::string(100, 'x')}));
  EXPECT_FALSE(pending.Push({Opcode::kBinary, "x"}));
  EXPECT_TRUE(pending.Push({Opcode::kBinary, ""}));
}

}  // namespace
}  // namespace broker
