#include "broker/app/config.h"

#include <google/protobuf/util/message_differencer.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/app/config_fixture.h"

namespace broker::testing {
namespace {

using ::google::protobuf::util::MessageDifferencer;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ConfigTest : public ConfigFixture {};

TEST_F(ConfigTest, NothingGivesTheDocumentedDefaults) {
  const absl::StatusOr<Config> config = LoadConfig(sources_);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->websocket().address(), "127.0.0.1");
  EXPECT_EQ(config->websocket().port(), 8080u);
  EXPECT_EQ(config->control().address(), "127.0.0.1");
  EXPECT_EQ(config->control().port(), 50051u);
  EXPECT_EQ(config->admin().port(), 8081u);
  EXPECT_TRUE(config->admin().enabled());
  EXPECT_GE(config->shards(), 1u);
  EXPECT_TRUE(WantsReflection(*config));
  EXPECT_EQ(DrainWindow(*config), absl::Seconds(10));
  EXPECT_EQ(ToLogLevel(*config), LogLevel::kInfo);
  EXPECT_EQ(ToLogFormat(*config), LogFormat::kAuto);

  const SettingsPtr settings = ToSettings(*config);
  EXPECT_TRUE(settings->loopback_listener);
  ASSERT_EQ(settings->endpoints.size(), 1u);
  const EndpointSettings& endpoint = settings->endpoints[0];
  EXPECT_EQ(endpoint.path, "/ws");
  EXPECT_EQ(endpoint.ns, "default");
  EXPECT_EQ(endpoint.framing, Framing::kJsonRpc);
  EXPECT_TRUE(endpoint.allow_ticket);
  EXPECT_TRUE(endpoint.allow_pending);
  EXPECT_EQ(endpoint.max_message_bytes, 1u << 20);
  EXPECT_EQ(endpoint.max_outbox_bytes, 4u << 20);
  EXPECT_EQ(settings->limits.max_connections, 20'000u - 512);
  EXPECT_EQ(settings->limits.ping_interval, std::chrono::seconds(25));
}

TEST_F(ConfigTest, DefaultsAreThoseOfTheSettings) {
  const SettingsPtr settings = ToSettings(*LoadConfig(sources_));
  const EndpointSettings e;
  const EndpointSettings& mine = settings->endpoints[0];
  EXPECT_EQ(mine.max_message_bytes, e.max_message_bytes);
  EXPECT_EQ(mine.max_outbox_bytes, e.max_outbox_bytes);
  EXPECT_EQ(mine.soft_outbox_bytes, e.soft_outbox_bytes);
  EXPECT_EQ(mine.soft_outbox_time, e.soft_outbox_time);
  EXPECT_EQ(mine.pending_timeout, e.pending_timeout);
  EXPECT_EQ(mine.offer_timeout, e.offer_timeout);
  EXPECT_EQ(mine.max_requests_in_flight, e.max_requests_in_flight);
  EXPECT_EQ(mine.request_timeout, e.request_timeout);
  EXPECT_EQ(mine.message_order, e.message_order);
  EXPECT_EQ(mine.cancel_method, e.cancel_method);
  const Limits l;
  const Limits& limits = settings->limits;
  EXPECT_EQ(limits.max_connections_per_address, l.max_connections_per_address);
  EXPECT_EQ(limits.max_connections_per_account, l.max_connections_per_account);
  EXPECT_EQ(limits.max_pending_connections, l.max_pending_connections);
  EXPECT_EQ(limits.max_header_bytes, l.max_header_bytes);
  EXPECT_EQ(limits.handshake_timeout, l.handshake_timeout);
  EXPECT_EQ(limits.ping_interval, l.ping_interval);
  EXPECT_EQ(limits.pong_timeout, l.pong_timeout);
  EXPECT_EQ(limits.max_pings_per_second, l.max_pings_per_second);
  EXPECT_EQ(limits.account_policy, l.account_policy);
  EXPECT_EQ(limits.max_connections_per_namespace,
            l.max_connections_per_namespace);
  EXPECT_EQ(limits.max_ticket_misses_per_minute,
            l.max_ticket_misses_per_minute);
  EXPECT_EQ(limits.message_timeout, l.message_timeout);
  EXPECT_EQ(limits.max_memory_bytes, l.max_memory_bytes);
  EXPECT_EQ(limits.max_requests_in_flight, l.max_requests_in_flight);
  EXPECT_EQ(limits.max_waiting_messages, l.max_waiting_messages);
  EXPECT_EQ(limits.max_waiting_bytes, l.max_waiting_bytes);
  EXPECT_EQ(mine.allow_missing_origin, e.allow_missing_origin);
  EXPECT_EQ(mine.max_messages_per_second, e.max_messages_per_second);
  EXPECT_EQ(mine.max_bytes_per_second, e.max_bytes_per_second);
}

constexpr char kFull[] = R"(
callout:
  target: dns:///auth.example:443
  deadline: 400ms
  max_concurrent: 7
  breaker_failures: 0
  breaker_pause: 1s
  tls: {ca_file: ca, certificate_file: c, private_key_file: k, server_name: n}
  key_file: key
websocket:
  address: 0.0.0.0
  port: 0
  trusted_proxies: [192.0.2.1, 10.0.0.0/8]
control:
  address: "::1"
  port: 1234
admin: {enabled: false}
endpoints:
  - path: /ws
    allowed_origins: [https://example.org, "http://localhost:3000"]
  - path: /raw/feed
    namespace: "null"
    framing: RAW
    ways: [ticket, WAY_MANUAL, attach]
    max_message_bytes: 3145728
    soft_outbox_bytes: 1000
    soft_outbox_time: 2s
    pending_timeout: 1.5s
    allow_missing_origin: false
    max_messages_per_second: 20
    max_bytes_per_second: 30000
    offer_timeout: 2.5s
    max_requests_in_flight: 3
    request_timeout: 4s
    message_order: STRICT
    cancel_method: $/cancelRequest
limits:
  max_connections: 5
  max_connections_per_address: 2
  max_connections_per_account: 3
  max_pending_connections: 0
  max_header_bytes: 2048
  handshake_timeout: 500ms
  ping_interval: 1m
  pong_timeout: 2s
  max_pings_per_second: 0
  account_policy: EVICT_OLDEST
  max_connections_per_namespace: 4
  max_ticket_misses_per_minute: 5
  message_timeout: 3s
  max_memory_bytes: 67108864
  max_requests_in_flight: 6
  max_waiting_messages: 7
  max_waiting_bytes: 8
shards: 3
drain: {window: 0s}
log: {level: debug, format: JSON}
reflection: "off"
)";

TEST_F(ConfigTest, EveryKeyIsTaken) {
  const absl::StatusOr<Config> config = Load(kFull);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->websocket().port(), 0u);
  EXPECT_EQ(config->control().address(), "::1");
  EXPECT_FALSE(config->admin().enabled());
  EXPECT_EQ(config->shards(), 3u);
  EXPECT_FALSE(WantsReflection(*config));
  EXPECT_EQ(DrainWindow(*config), absl::ZeroDuration());
  EXPECT_EQ(ToLogLevel(*config), LogLevel::kDebug);
  EXPECT_EQ(ToLogFormat(*config), LogFormat::kJson);

  const SettingsPtr settings = ToSettings(*config);
  EXPECT_FALSE(settings->loopback_listener);
  ASSERT_EQ(settings->endpoints.size(), 2u);
  EXPECT_TRUE(settings->endpoints[0].allow_ticket);
  EXPECT_FALSE(settings->endpoints[0].allow_pending)
      << "who configures an endpoint asks for MANUAL";
  EXPECT_THAT(settings->endpoints[0].allowed_origins,
              ElementsAre("https://example.org", "http://localhost:3000"));
  const EndpointSettings& raw = settings->endpoints[1];
  EXPECT_EQ(raw.ns, "null");
  EXPECT_EQ(raw.framing, Framing::kRaw);
  EXPECT_TRUE(raw.allow_ticket);
  EXPECT_TRUE(raw.allow_pending);
  EXPECT_TRUE(raw.allow_attach);
  EXPECT_EQ(raw.offer_timeout, std::chrono::milliseconds(2500));
  EXPECT_EQ(raw.max_requests_in_flight, 3u);
  EXPECT_EQ(raw.request_timeout, std::chrono::seconds(4));
  EXPECT_EQ(raw.message_order, MessageOrder::kStrict);
  EXPECT_EQ(raw.cancel_method, "$/cancelRequest");
  EXPECT_EQ(raw.max_message_bytes, 3u << 20);
  EXPECT_EQ(raw.max_outbox_bytes, 6u << 20) << "follows the message size";
  EXPECT_EQ(raw.soft_outbox_bytes, 1000u);
  EXPECT_EQ(raw.soft_outbox_time, std::chrono::seconds(2));
  EXPECT_EQ(raw.pending_timeout, std::chrono::milliseconds(1500));
  const auto& callout = config->callout();
  EXPECT_EQ(callout.target(), "dns:///auth.example:443");
  EXPECT_EQ(callout.deadline().nanos(), 400'000'000);
  EXPECT_EQ(callout.max_concurrent(), 7u);
  EXPECT_TRUE(callout.has_breaker_failures()) << "an explicit 0 is seen";
  EXPECT_EQ(callout.breaker_failures(), 0u);
  EXPECT_EQ(callout.breaker_pause().seconds(), 1);
  EXPECT_EQ(callout.tls().server_name(), "n");
  EXPECT_EQ(callout.key_file(), "key");
  const Limits& limits = settings->limits;
  EXPECT_EQ(limits.max_connections, 5u);
  EXPECT_EQ(limits.max_connections_per_address, 2u);
  EXPECT_EQ(limits.max_connections_per_account, 3u);
  EXPECT_EQ(limits.max_pending_connections, 0u) << "an explicit 0 is seen";
  EXPECT_EQ(limits.max_header_bytes, 2048u);
  EXPECT_EQ(limits.handshake_timeout, std::chrono::milliseconds(500));
  EXPECT_EQ(limits.ping_interval, std::chrono::minutes(1));
  EXPECT_EQ(limits.pong_timeout, std::chrono::seconds(2));
  EXPECT_EQ(limits.max_pings_per_second, 0u);
  EXPECT_EQ(limits.account_policy, AccountPolicy::kEvictOldest);
  EXPECT_EQ(limits.max_connections_per_namespace, 4u);
  EXPECT_EQ(limits.max_ticket_misses_per_minute, 5u);
  EXPECT_EQ(limits.message_timeout, std::chrono::seconds(3));
  EXPECT_EQ(limits.max_memory_bytes, 64u << 20);
  EXPECT_EQ(limits.max_requests_in_flight, 6u);
  EXPECT_EQ(limits.max_waiting_messages, 7u);
  EXPECT_EQ(limits.max_waiting_bytes, 8u);
  EXPECT_FALSE(raw.allow_missing_origin);
  EXPECT_EQ(raw.max_messages_per_second, 20u);
  EXPECT_EQ(raw.max_bytes_per_second, 30'000u);
  ASSERT_EQ(settings->trusted_proxies.size(), 2u);
  EXPECT_TRUE(
      settings->trusted_proxies[1].Contains(*IpAddress::Parse("10.1.2.3")));
}

TEST_F(ConfigTest, AListOfOriginsLeavesOutWhoHasNone) {
  const auto missing_allowed = [&](absl::string_view origins) {
    return ToSettings(
               *Load(absl::StrCat("endpoints: [{path: /a, ", origins, "}]")))
        ->endpoints[0]
        .allow_missing_origin;
  };
  EXPECT_TRUE(missing_allowed("max_message_bytes: 100"));
  EXPECT_FALSE(missing_allowed("allowed_origins: [https://a.example]"));
  EXPECT_TRUE(missing_allowed("allowed_origins: [https://a.example, \"*\"]"));
  EXPECT_TRUE(missing_allowed(
      "allowed_origins: [https://a.example], allow_missing_origin: true"));
}

TEST_F(ConfigTest, TheCgroupGivesTheMemory) {
  sources_.memory_limit = 1 << 30;
  EXPECT_EQ(ToSettings(*LoadConfig(sources_))->limits.max_memory_bytes,
            1u << 30);
  EXPECT_EQ(ToSettings(*Load("limits: {max_memory_bytes: 0}"))
                ->limits.max_memory_bytes,
            0u);
}

TEST_F(ConfigTest, JsonIsTakenToo) {
  const absl::StatusOr<Config> config = Load(
      "{\n\t\"websocket\": {\n\t\t\"port\": 9000\n\t},\n"
      "\t\"endpoints\": [{\"path\": \"\\/ws\", \"framing\": "
      "\"FRAMING_RAW\"}],\n"
      "\t\"limits\": {\"ping_interval\": \"25s\"}\n}\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->websocket().port(), 9000u);
  EXPECT_EQ(ToSettings(*config)->endpoints[0].framing, Framing::kRaw);
}

TEST_F(ConfigTest, EmptyFileAndEmptyKeysAreDefaults) {
  for (const char* yaml : {"", "# nothing\n", "limits:\nlog: ~\n", "{}"}) {
    const absl::StatusOr<Config> config = Load(yaml);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_TRUE(MessageDifferencer::Equals(
        *config, *LoadConfig({"", {}, {}, sources_.descriptor_limit})));
  }
}

TEST_F(ConfigTest, PrintedConfigurationIsTheSameWhenRead) {
  for (const std::string& yaml : {std::string(), std::string(kFull)}) {
    const absl::StatusOr<Config> config = Load(yaml);
    ASSERT_TRUE(config.ok()) << config.status();
    const std::string printed = PrintConfig(*config);
    const absl::StatusOr<Config> again = Load(printed);
    ASSERT_TRUE(again.ok()) << again.status() << "\n" << printed;
    EXPECT_TRUE(MessageDifferencer::Equals(*config, *again)) << printed;
  }
  EXPECT_THAT(
      PrintConfig(*Load("")),
      AllOf(HasSubstr("websocket:\n  address: \"127.0.0.1\"\n"),
            HasSubstr("ways: [TICKET, MANUAL]"),
            HasSubstr("ping_interval: 25s"), HasSubstr("reflection: AUTO")));
}

// broker/docs/configuration.md shows every key with its default.
TEST_F(ConfigTest, TheDocumentationIsTrue) {
  std::ifstream in(CONFIGURATION_MD);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const size_t begin = text.find("```yaml\n");
  ASSERT_NE(begin, std::string::npos);
  const std::string yaml =
      text.substr(begin + 8, text.find("```\n", begin + 8) - begin - 8);
  const absl::StatusOr<Config> documented = Load(yaml);
  ASSERT_TRUE(documented.ok()) << documented.status();
  sources_.file.clear();
  EXPECT_TRUE(MessageDifferencer::Equals(*documented, *LoadConfig(sources_)));

  std::vector<std::string> paths = AssignablePaths(*Config::descriptor());
  for (const std::string& key :
       AssignablePaths(*Config::descriptor()
                            ->FindFieldByName("endpoints")
                            ->message_type())) {
    paths.push_back(key);
  }
  for (const std::string& path : paths) {
    EXPECT_THAT(yaml, HasSubstr(path.substr(path.rfind('.') + 1) + ":"));
  }
}

}  // namespace
}  // namespace broker::testing
