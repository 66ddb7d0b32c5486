#include "broker/core/ip_network.h"

#include "gtest/gtest.h"

namespace broker {
namespace {

bool Contains(const char* network, const char* address) {
  return IpNetwork::Parse(network)->Contains(*IpAddress::Parse(address));
}

TEST(IpNetworkTest, AddressesHaveOneSpelling) {
  EXPECT_EQ(IpAddress::Parse("2001:DB8:0::1")->ToString(), "2001:db8::1");
  EXPECT_EQ(IpAddress::Parse("::ffff:10.0.0.1")->ToString(), "10.0.0.1");
  EXPECT_TRUE(IpAddress::Parse("10.0.0.1")->is_v4());
  EXPECT_FALSE(IpAddress::Parse("::1")->is_v4());
  for (const char* bad : {"", "10.0.0", "10.0.0.256", "[::1]", "::1%lo",
                          "10.0.0.1:80", "unknown", " 10.0.0.1"}) {
    EXPECT_FALSE(IpAddress::Parse(bad)) << bad;
  }
}

TEST(IpNetworkTest, ContainsWhatHasThePrefix) {
  EXPECT_TRUE(Contains("10.0.0.0/8", "10.255.1.2"));
  EXPECT_TRUE(Contains("10.0.0.0/8", "::ffff:10.1.2.3"));
  EXPECT_FALSE(Contains("10.0.0.0/8", "11.0.0.0"));
  EXPECT_TRUE(Contains("192.0.2.4/30", "192.0.2.7"));
  EXPECT_FALSE(Contains("192.0.2.4/30", "192.0.2.8"));
  EXPECT_TRUE(Contains("192.0.2.1", "192.0.2.1"));
  EXPECT_FALSE(Contains("192.0.2.1", "192.0.2.2"));
  EXPECT_TRUE(Contains("0.0.0.0/0", "1.2.3.4"));
  EXPECT_FALSE(Contains("0.0.0.0/0", "2001:db8::1"));
  EXPECT_TRUE(Contains("fd00::/8", "fdff::1"));
  EXPECT_FALSE(Contains("fd00::/8", "fe80::1"));
  EXPECT_TRUE(Contains("::/0", "1.2.3.4"));
}

TEST(IpNetworkTest, RefusesWhatIsNone) {
  for (const char* bad :
       {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8",
        "10.0.0.0/8/8", "10.0.0.1/8", "fd00::/129", "fd00::1/8", "any"}) {
    EXPECT_FALSE(IpNetwork::Parse(bad)) << bad;
  }
}

}  // namespace
}  // namespace broker
