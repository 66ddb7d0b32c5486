#include "broker/hub/origin.h"

#include "gtest/gtest.h"

namespace broker {
namespace {

TEST(OriginTest, WithoutAListOnlyLoopbackOnLoopback) {
  const EndpointSettings endpoint;
  for (const char* good :
       {"http://localhost", "https://localhost:8443", "http://127.0.0.1:3000",
        "http://127.8.9.10", "http://[::1]", "http://[::1]:80"}) {
    EXPECT_TRUE(OriginAllowed(good, endpoint, true)) << good;
    EXPECT_FALSE(OriginAllowed(good, endpoint, false)) << good;
  }
  for (const char* bad :
       {"", "null", "http://localhost.evil.example", "http://127.0.0.1.evil",
        "http://evil.example", "file://", "http://localhost:", "http://[::1",
        "http://localhost:99999", "http://127.0.0.1:80:80", "http://127.0.0",
        "http://127.0.0.256", "http://127.0.0.1/", "localhost",
        "http://127.0.0.+1"}) {
    EXPECT_FALSE(OriginAllowed(bad, endpoint, true)) << bad;
  }
  EXPECT_TRUE(OriginAllowed(std::nullopt, endpoint, true));
  EXPECT_TRUE(OriginAllowed(std::nullopt, endpoint, false));
}

TEST(OriginTest, AListIsComparedWhole) {
  EndpointSettings endpoint;
  endpoint.allowed_origins = {"https://app.example"};
  EXPECT_TRUE(OriginAllowed("https://app.example", endpoint, false));
  for (const char* bad :
       {"https://app.example:444", "http://app.example",
        "https://app.example.evil", "https://evil/https://app.example",
        "HTTPS://APP.EXAMPLE", "http://localhost", "null", ""}) {
    EXPECT_FALSE(OriginAllowed(bad, endpoint, true)) << bad;
  }
  EXPECT_TRUE(OriginAllowed(std::nullopt, endpoint, true));
  endpoint.allow_missing_origin = false;
  EXPECT_FALSE(OriginAllowed(std::nullopt, endpoint, true));
  endpoint.allowed_origins.push_back("*");
  EXPECT_FALSE(OriginAllowed(std::nullopt, endpoint, true));
  EXPECT_TRUE(OriginAllowed("null", endpoint, true));
}

}  // namespace
}  // namespace broker
