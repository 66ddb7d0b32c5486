// The keys of callouts, and of the ways that go with them.

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/app/config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/app/config_fixture.h"

namespace broker::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ConfigCalloutTest : public ConfigFixture {};

TEST_F(ConfigCalloutTest, DefaultsStayBelowTheHandshake) {
  using Case = std::pair<const char*, int64_t>;
  for (const auto& [limit, nanos] :
       {Case("5s", 3'000'000'000), Case("1m", 3'000'000'000),
        Case("500ms", 300'000'000)}) {
    const auto config =
        Load(absl::StrCat("callout: {target: \"localhost:1\"}\nlimits: "
                          "{handshake_timeout: ",
                          limit, "}"));
    ASSERT_TRUE(config.ok()) << config.status();
    const auto& deadline = config->callout().deadline();
    EXPECT_EQ(deadline.seconds() * 1'000'000'000 + deadline.nanos(), nanos);
    EXPECT_EQ(config->callout().max_concurrent(), 256u);
    EXPECT_EQ(config->callout().breaker_failures(), 10u);
    EXPECT_EQ(config->callout().breaker_pause().seconds(), 5);
  }
}

TEST_F(ConfigCalloutTest, FaultsNameKeyValueAndWhatIsAllowed) {
  const auto with = [&](absl::string_view keys) {
    return Fault(absl::StrCat("callout: {", keys, "}"));
  };
  EXPECT_THAT(with("key_file: k"), HasSubstr("callout.target: is required"));
  for (const char* far : {"192.0.2.1:1", "dns:///app.example:1", "app:1",
                          "[2001:db8::1]:1", "localhost.example:1"}) {
    EXPECT_THAT(with(absl::StrCat("target: \"", far, "\"")),
                AllOf(HasSubstr(far), HasSubstr("is not on loopback")));
    EXPECT_EQ(with(absl::StrCat("target: \"", far, "\", tls: {ca_file: c}")),
              "");
  }
  for (const char* near : {"127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/a",
                           "dns:///localhost:1", "ipv4:127.0.0.2:1"}) {
    EXPECT_EQ(with(absl::StrCat("target: \"", near, "\"")), "") << near;
  }
  EXPECT_THAT(with("target: \"::1\", deadline: 5s"),
              HasSubstr("callout.deadline: 5s is not less than "
                        "limits.handshake_timeout, which is 5s"));
  EXPECT_THAT(with("target: \"::1\", deadline: 1ms"),
              HasSubstr("callout.deadline: 1ms is out of range"));
  EXPECT_THAT(with("target: \"::1\", max_concurrent: 0"),
              HasSubstr("callout.max_concurrent: 0 is out of range"));
  EXPECT_THAT(with("target: \"::1\", breaker_pause: 2h"),
              HasSubstr("callout.breaker_pause: 2h is out of range"));
  EXPECT_THAT(with("target: \"::1\", tls: {certificate_file: c}"),
              HasSubstr("callout.tls.private_key_file: is required"));
  EXPECT_THAT(Fault("endpoints: [{path: /a, ways: [CALLOUT]}]"),
              HasSubstr("endpoints[0].ways: CALLOUT has nobody to ask"));
  EXPECT_THAT(Fault("callout: {target: \"::1\"}\n"
                    "endpoints: [{path: /a, ways: [MANUAL, CALLOUT]}]"),
              HasSubstr("endpoints[0].ways: MANUAL is never used"));
  EXPECT_THAT(Fault("callout: {target: \"::1\"}\n"
                    "endpoints: [{path: /a, ways: [ATTACH, CALLOUT]}]"),
              HasSubstr("endpoints[0].ways: ATTACH is never used"));
}

}  // namespace
}  // namespace broker::testing
