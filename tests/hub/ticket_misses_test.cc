#include "broker/hub/ticket_misses.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

using std::chrono::milliseconds;

constexpr MonotonicTime kStart{milliseconds(1'000'000)};

TEST(TicketMissesTest, SoManyInAMinute) {
  TicketMisses misses(6);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(misses.RetryAfter("10.0.0.1", kStart), 0);
    misses.Add("10.0.0.1", kStart);
  }
  EXPECT_EQ(misses.RetryAfter("10.0.0.1", kStart), 10);
  EXPECT_EQ(misses.RetryAfter("10.0.0.2", kStart), 0);
  EXPECT_EQ(misses.RetryAfter("10.0.0.1", kStart + milliseconds(9'001)), 1);
  EXPECT_EQ(misses.RetryAfter("10.0.0.1", kStart + milliseconds(10'000)), 0);
  misses.Add("10.0.0.1", kStart + milliseconds(10'000));
  EXPECT_EQ(misses.RetryAfter("10.0.0.1", kStart + milliseconds(10'000)), 10);
}

TEST(TicketMissesTest, AnIpv6ClientIsItsNetwork) {
  TicketMisses misses(1);
  misses.Add("2001:db8:1:2::1", kStart);
  EXPECT_GT(misses.RetryAfter("2001:db8:1:2:ffff::9", kStart), 0);
  EXPECT_EQ(misses.RetryAfter("2001:db8:1:3::1", kStart), 0);
}

TEST(TicketMissesTest, ForgetsWhatIsOverAndWhoHasTheLeastToAnswerFor) {
  TicketMisses misses(1'000);
  misses.Add("10.0.0.1", kStart);
  for (int i = 0; i < 100; ++i) misses.Add("10.0.0.2", kStart);
  EXPECT_EQ(misses.addresses(), 2u);
  misses.Add("10.0.0.3", kStart + milliseconds(100));
  EXPECT_EQ(misses.addresses(), 2u) << "the first is forgiven";
  for (size_t i = 0; i < TicketMisses::kMaxAddresses + 10; ++i) {
    misses.Add(absl::StrCat("client ", i), kStart + milliseconds(100));
  }
  EXPECT_EQ(misses.addresses(), TicketMisses::kMaxAddresses);
  for (int i = 0; i < 1'000; ++i) {
    misses.Add("10.0.0.2", kStart + milliseconds(100));
  }
  EXPECT_GT(misses.RetryAfter("10.0.0.2", kStart + milliseconds(100)), 0);
}

TEST(TicketMissesTest, ZeroIsNoLimit) {
  TicketMisses misses(1);
  misses.Add("10.0.0.1", kStart);
  misses.SetLimit(0);
  EXPECT_EQ(misses.RetryAfter("10.0.0.1", kStart), 0);
  misses.Add("10.0.0.1", kStart);
  EXPECT_EQ(misses.addresses(), 0u);
}

}  // namespace
}  // namespace broker
