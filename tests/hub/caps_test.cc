#include "broker/hub/caps.h"

#include <optional>

#include "gtest/gtest.h"

namespace broker {
namespace {

Limits Some() {
  Limits limits;
  limits.max_connections = 2;
  limits.max_connections_per_address = 1;
  limits.max_connections_per_namespace = 1;
  limits.max_pending_connections = 1;
  return limits;
}

TEST(CapsTest, TellsWhichSocketLimitIsPassed) {
  Caps caps(Some());
  SocketOverload overload{};
  const SocketLease one = caps.OpenSocket("10.0.0.1", overload);
  EXPECT_EQ(overload, SocketOverload::kNone);
  const SocketLease two = caps.OpenSocket("10.0.0.1", overload);
  EXPECT_TRUE(two);
  EXPECT_EQ(overload, SocketOverload::kAddress);
  const SocketLease three = caps.OpenSocket("10.0.0.2", overload);
  EXPECT_TRUE(three);
  EXPECT_EQ(overload, SocketOverload::kTotal);
  EXPECT_EQ(caps.sockets(), 3u);
}

TEST(CapsTest, BeyondTheHeadroomThereIsNoLease) {
  Caps caps(Some());
  SocketOverload overload{};
  std::vector<SocketLease> leases;
  for (uint64_t i = 0; i < 2 + Caps::kRefusalHeadroom; ++i) {
    leases.push_back(caps.OpenSocket("10.0.0.1", overload));
    ASSERT_TRUE(leases.back());
  }
  EXPECT_FALSE(caps.OpenSocket("10.0.0.1", overload));
  leases.pop_back();
  EXPECT_TRUE(caps.OpenSocket("10.0.0.1", overload));
}

TEST(CapsTest, TheClientOfAProxyIsNamedLater) {
  Caps caps(Some());
  SocketOverload overload{};
  SocketLease one = caps.OpenSocket(overload);
  SocketLease two = caps.OpenSocket(overload);
  EXPECT_EQ(overload, SocketOverload::kNone);
  EXPECT_EQ(caps.NameClient("10.0.0.1", one), SocketOverload::kNone);
  EXPECT_EQ(caps.NameClient("10.0.0.1", two), SocketOverload::kAddress);
  const SocketLease three = caps.OpenSocket(overload);
  EXPECT_EQ(overload, SocketOverload::kTotal);
  one.Release();
  two.Release();
  SocketLease four = caps.OpenSocket(overload);
  EXPECT_EQ(caps.NameClient("10.0.0.1", four), SocketOverload::kNone);
}

TEST(CapsTest, ALeaseGivesItsPlaceBackOnceHoweverItMoves) {
  Caps caps(Some());
  NamespaceLease one = caps.JoinNamespace("a");
  EXPECT_TRUE(one);
  EXPECT_FALSE(caps.JoinNamespace("a"));
  EXPECT_TRUE(caps.JoinNamespace("b"));
  NamespaceLease moved = std::move(one);
  one.Release();
  EXPECT_FALSE(caps.JoinNamespace("a"));
  moved = NamespaceLease();
  EXPECT_TRUE(caps.JoinNamespace("a"));
}

TEST(CapsTest, PendingHaveALimitOfTheirOwn) {
  Caps caps(Some());
  PendingLease one = caps.JoinPending();
  EXPECT_FALSE(caps.JoinPending());
  one.Release();
  EXPECT_TRUE(caps.JoinPending());
}

TEST(CapsTest, ZeroIsNoLimit) {
  Limits limits = Some();
  limits.max_connections_per_namespace = 0;
  limits.max_connections_per_address = 0;
  Caps caps(limits);
  std::vector<NamespaceLease> leases;
  for (int i = 0; i < 100; ++i) {
    leases.push_back(caps.JoinNamespace("ns"));
    EXPECT_TRUE(leases.back());
  }
  SocketOverload overload{};
  const SocketLease one = caps.OpenSocket("10.0.0.1", overload);
  const SocketLease two = caps.OpenSocket("10.0.0.1", overload);
  EXPECT_EQ(overload, SocketOverload::kNone);
}

}  // namespace
}  // namespace broker
