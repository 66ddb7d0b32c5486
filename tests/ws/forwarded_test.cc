#include "broker/ws/forwarded.h"

#include "gtest/gtest.h"

namespace broker {
namespace {

const std::vector<IpNetwork>& Trusted() {
  static const auto* trusted = new std::vector<IpNetwork>{
      *IpNetwork::Parse("10.0.0.0/8"), *IpNetwork::Parse("fd00::/8")};
  return *trusted;
}

// "none", or the address, with the port when there is one.
std::string Client(const std::vector<std::string>& forwarded_for) {
  const auto client = FindClient({"10.0.0.1", 5}, forwarded_for, Trusted());
  if (!client) return "none";
  return client->port == 0
             ? client->address
             : client->address + " " + std::to_string(client->port);
}

TEST(ForwardedTest, OnlyWhoIsNamedIsTrusted) {
  EXPECT_TRUE(IsTrusted("10.9.9.9", Trusted()));
  EXPECT_TRUE(IsTrusted("fd12::1", Trusted()));
  EXPECT_FALSE(IsTrusted("192.0.2.1", Trusted()));
  EXPECT_FALSE(IsTrusted("10.0.0.1", {}));
}

TEST(ForwardedTest, TheLastThatIsNoProxyIsTheClient) {
  EXPECT_EQ(Client({"192.0.2.1"}), "192.0.2.1");
  EXPECT_EQ(Client({"192.0.2.1", "10.0.0.7", "fd00::1"}), "192.0.2.1");
  EXPECT_EQ(Client({"198.51.100.1", "192.0.2.1", "10.0.0.7"}), "192.0.2.1")
      << "what stands before is the client's own word";
  EXPECT_EQ(Client({"no address", "192.0.2.1"}), "192.0.2.1");
  EXPECT_EQ(Client({"10.0.0.8", "10.0.0.7"}), "10.0.0.8");
  EXPECT_EQ(Client({}), "10.0.0.1 5");
}

TEST(ForwardedTest, TakesEveryFormOfAnAddress) {
  EXPECT_EQ(Client({"192.0.2.1:443"}), "192.0.2.1 443");
  EXPECT_EQ(Client({"2001:DB8::1"}), "2001:db8::1");
  EXPECT_EQ(Client({"[2001:db8::1]"}), "2001:db8::1");
  EXPECT_EQ(Client({"[2001:db8::1]:443"}), "2001:db8::1 443");
  EXPECT_EQ(Client({"::ffff:192.0.2.1"}), "192.0.2.1");
}

TEST(ForwardedTest, WhatIsNoAddressIsRefused) {
  for (const char* bad :
       {"unknown", "_hidden", "192.0.2", "192.0.2.1:", "192.0.2.1:x",
        "192.0.2.1:65536", "[2001:db8::1", "[2001:db8::1]x",
        "[2001:db8::1]:", "2001:db8::1]", "\"192.0.2.1\"", "192.0.2.1 "}) {
    EXPECT_EQ(Client({bad}), "none") << bad;
  }
  EXPECT_EQ(Client({"192.0.2.1", "unknown", "10.0.0.7"}), "none");
}

}  // namespace
}  // namespace broker
