// What is wrong with a configuration, and how that is said.

#include <string>

#include "absl/strings/str_cat.h"
#include "broker/app/config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/app/config_fixture.h"

namespace broker::testing {
namespace {

using ::testing::HasSubstr;

class ConfigFaultsTest : public ConfigFixture {};

TEST_F(ConfigFaultsTest, FaultsNameLineKeyValueAndWhatIsAllowed) {
  EXPECT_EQ(Fault("log: {}\nlimits:\n  max_conections: 3\n"),
            ":3: there is no key \"limits.max_conections\"; did you mean "
            "\"limits.max_connections\"?");
  EXPECT_EQ(Fault("drain: {zzz: 1}"),
            ":1: there is no key \"drain.zzz\"; known here are window");
  EXPECT_EQ(Fault("\nwebsocket: {port: http}"),
            ":2: websocket.port: \"http\" is not allowed; allowed is a whole "
            "number from 0 to 4294967295");
  EXPECT_EQ(Fault("websocket: {port: -1}"),
            ":1: websocket.port: \"-1\" is not allowed; allowed is a whole "
            "number from 0 to 4294967295");
  EXPECT_EQ(Fault("websocket: {port: [1]}"),
            ":1: websocket.port: a list is not allowed; allowed is a whole "
            "number from 0 to 4294967295");
  EXPECT_EQ(Fault("websocket: 8080"),
            ":1: websocket: \"8080\" is not a map of keys; known here are "
            "address, port, tls, trusted_proxies");
  EXPECT_EQ(Fault("endpoints: /ws"),
            ":1: endpoints: \"/ws\" is not a list; allowed is a list, each "
            "item a map of keys");
  EXPECT_EQ(Fault("endpoints: []"),
            ":1: endpoints: the list is empty; leave the key out for the "
            "default");
  EXPECT_EQ(Fault("endpoints:\n- {path: /a}\n- {path: /b, framing: XML}"),
            ":3: endpoints[1].framing: \"XML\" is not allowed; allowed is one "
            "of JSONRPC, RAW");
  EXPECT_EQ(Fault("endpoints: [{path: /a, ways: [TICKET, UNSPECIFIED]}]"),
            ":1: endpoints[0].ways[1]: \"UNSPECIFIED\" is not allowed; allowed "
            "is one of TICKET, MANUAL, CALLOUT, ATTACH");
  EXPECT_EQ(Fault("drain: {window: 10}"),
            ":1: drain.window: \"10\" is not allowed; allowed is a duration "
            "such as \"25s\" or \"500ms\"");
  EXPECT_EQ(Fault("admin: {enabled: yes}"),
            ":1: admin.enabled: \"yes\" is not allowed; allowed is true or "
            "false");
  EXPECT_EQ(Fault("a: 1\n---\nb: 2\n"),
            ":2: a second document begins; there must be one");
  EXPECT_EQ(Fault("shards: 1\nshards: 2\n"),
            ":2: the key \"shards\" is given twice");
  // yaml-cpp's LoadAll never comes back from this one.
  EXPECT_EQ(Fault(","), ":1: not YAML: no value can begin like this");
  EXPECT_THAT(Fault("limits: [}"), HasSubstr(":1: not YAML: "));
  EXPECT_THAT(Fault("[1]"), HasSubstr("a list is not a map of keys"));
  EXPECT_THAT(Fault("? [a]\n: 1\n"), HasSubstr("a key must be a plain text"));
}

TEST_F(ConfigFaultsTest, EveryFaultIsTold) {
  EXPECT_EQ(Fault("websocket: {port: 70000}\nshards: 300\n"),
            "websocket.port: 70000 is out of range; allowed are 0 to 65535\n"
            "shards: 300 is out of range; allowed are 1 to 256");
}

TEST_F(ConfigFaultsTest, ValuesAreHeldToTheRules) {
  const struct {
    const char* yaml;
    const char* fault;
  } cases[] = {
      {"limits: {max_header_bytes: 1023}",
       "limits.max_header_bytes: 1023 is out of range; allowed are 1024 to "},
      {"limits: {ping_interval: 0s}",
       "limits.ping_interval: 0 is out of range; allowed are 100ms to 1h"},
      {"limits: {pong_timeout: 6m}", "limits.pong_timeout: 6m is out of range"},
      {"limits: {handshake_timeout: 61s}", "limits.handshake_timeout: 1m1s is"},
      {"limits: {max_pings_per_second: 10001}", "limits.max_pings_per_second"},
      {"drain: {window: 2h}", "drain.window: 2h is out of range"},
      {"limits: {max_connections: 0}", "allowed are 1 to 19488"},
      {"limits: {max_connections: 19489}",
       "limits.max_connections: 19489 is out of range; allowed are 1 to 19488, "
       "512 below what this process may open; raise the limit"},
      {"endpoints: [{namespace: a}]", "endpoints[0].path: is required"},
      {"endpoints: [{path: ws}]", "endpoints[0].path: \"ws\" is no path"},
      {"endpoints: [{path: \"/ws?a=1\"}]", "\"/ws?a=1\" has a query"},
      {"endpoints: [{path: \"/a b\"}]", "endpoints[0].path: \"/a b\" is no"},
      {"endpoints: [{path: /a}, {path: /a}]",
       "endpoints[1].path: \"/a\" is another endpoint's, too"},
      {"endpoints: [{path: /a, namespace: Chat}]",
       "endpoints[0].namespace: \"Chat\" is no name"},
      {"endpoints: [{path: /a, namespace: \"\"}]", "\"\" is no name"},
      {"endpoints: [{path: /a}, {path: /b, framing: RAW}]",
       "endpoints[1].framing: RAW is not the framing of the other endpoints of "
       "namespace \"default\", which is JSONRPC"},
      {"endpoints: [{path: /a, max_message_bytes: 0}]",
       "endpoints[0].max_message_bytes: 0 is out of range; allowed are 1 to "
       "3145728"},
      {"endpoints: [{path: /a, max_message_bytes: 3145729}]",
       "allowed are 1 to 3145728"},
      {"endpoints: [{path: /a, max_message_bytes: 18446744073709551615}]",
       "allowed are 1 to 3145728"},
      {"endpoints: [{path: /a, max_message_bytes: 100, max_outbox_bytes: 199}]",
       "endpoints[0].max_outbox_bytes: 199 is out of range; allowed are 200 "},
      {"endpoints: [{path: /a, soft_outbox_bytes: 4194305}]",
       "endpoints[0].soft_outbox_bytes: 4194305 is out of range; allowed are 1 "
       "to 4194304"},
      {"endpoints: [{path: /a, soft_outbox_time: 10ms}]",
       "endpoints[0].soft_outbox_time: 10ms is out of range"},
      {"endpoints: [{path: /a, pending_timeout: 1ms}]",
       "endpoints[0].pending_timeout: 1ms is out of range"},
      {"websocket: {address: localhost}",
       "websocket.address: \"localhost\" is no IP address"},
      {"control: {address: 0.0.0.0}",
       "control.address: \"0.0.0.0\" is not on loopback"},
      {"control: {tcp: false}", "control.tcp: false leaves no listener"},
      {"control: {unix_socket: ''}", "control.unix_socket: \"\": allowed is"},
      {"control: {tls: {}}",
       "control.tls.certificate_file: is required: the path of a PEM file\n"
       "control.tls.private_key_file: is required: the path of a PEM file"},
      {"admin: {address: \"::\"}", "admin.address: \"::\" is not on loopback"},
      {"websocket: {tls: {}}",
       "websocket.tls.certificate_file: is required: the path of a PEM file\n"
       "websocket.tls.private_key_file: is required: the path of a PEM file"},
      {"websocket: {tls: {min_version: TLS1_1}}",
       "websocket.tls.min_version: \"TLS1_1\" is not allowed; allowed is one "
       "of TLS1_2, TLS1_3"},
      {"websocket: {trusted_proxies: [10.0.0.1/8]}",
       "websocket.trusted_proxies[0]: \"10.0.0.1/8\" is no IP address and no "
       "network"},
      {"endpoints: [{path: /a, max_bytes_per_second: 1073741825}]",
       "endpoints[0].max_bytes_per_second: 1073741825 is out of range"},
      {"endpoints: [{path: /a, max_messages_per_second: 1000001}]",
       "endpoints[0].max_messages_per_second: 1000001 is out of range"},
      {"endpoints: [{path: /a, max_requests_in_flight: 0}]",
       "endpoints[0].max_requests_in_flight: 0 is out of range"},
      {"endpoints: [{path: /a, request_timeout: 99ms}]",
       "endpoints[0].request_timeout: 99ms is out of range"},
      {"endpoints: [{path: /a, message_order: ANY}]",
       "endpoints[0].message_order: \"ANY\" is not allowed"},
      {"limits: {max_requests_in_flight: 0}",
       "limits.max_requests_in_flight: 0 is out of range"},
      {"limits: {max_waiting_messages: 1000001}",
       "limits.max_waiting_messages: 1000001 is out of range"},
      {"limits: {max_waiting_bytes: 0}",
       "limits.max_waiting_bytes: 0 is out of range"},
      {"limits: {max_ticket_misses_per_minute: 60001}",
       "limits.max_ticket_misses_per_minute: 60001 is out of range"},
      {"limits: {message_timeout: 1ms}",
       "limits.message_timeout: 1ms is out of range; allowed are 1s to 1h"},
      {"limits: {max_memory_bytes: 1}",
       "limits.max_memory_bytes: 1 is out of range; allowed are 0"},
      {"limits: {account_policy: EVICT}",
       "limits.account_policy: \"EVICT\" is not allowed"},
      {"control: {port: 8080}", "control.port: 8080 is the port of websocket"},
  };
  for (const auto& c : cases) EXPECT_THAT(Fault(c.yaml), HasSubstr(c.fault));
}

TEST_F(ConfigFaultsTest, LoopbackIsMoreThanOneAddress) {
  for (const char* address : {"127.0.0.2", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(
        Load(absl::StrCat("control: {address: \"", address, "\"}")).ok());
  }
  EXPECT_TRUE(Load("websocket: {address: \"::\"}").ok());
  // A listener that is off is not asked.
  EXPECT_TRUE(Load("admin: {enabled: false, port: 8080}").ok());
}

TEST_F(ConfigFaultsTest, OriginsAreWhatBrowsersSend) {
  const auto load = [&](const char* origin) {
    return Load(absl::StrCat("endpoints: [{path: /a, allowed_origins: [\"",
                             origin, "\"]}]"))
        .ok();
  };
  for (const char* origin :
       {"*", "https://example.org", "http://localhost:3000",
        "https://127.0.0.1:8443", "https://[::1]", "http://[::1]:8080",
        "chrome-extension://abcdef", "https://xn--bcher-kva.example"}) {
    EXPECT_TRUE(load(origin)) << origin;
  }
  for (const char* origin : {"",
                             "null",
                             "example.org",
                             "https://",
                             "://a",
                             "https://example.org/",
                             "https://example.org/path",
                             "https://Example.org",
                             "HTTPS://a",
                             "https://example.org:443",
                             "http://example.org:80",
                             "https://a:0",
                             "https://a:65536",
                             "https://a:",
                             "https://a:08",
                             "https://a b",
                             "https://user@a",
                             "https://*.example.org",
                             "https://[::1",
                             "https://[zz]",
                             "https://::1",
                             "https://a?b",
                             "https://a#b"}) {
    EXPECT_FALSE(load(origin)) << origin;
  }
}

TEST_F(ConfigFaultsTest, DeepAndExplodingTextsAreRefused) {
  EXPECT_THAT(Fault(std::string(100, '[')), HasSubstr("not YAML"));
  EXPECT_THAT(Fault(std::string(100, '[') + std::string(100, ']')),
              HasSubstr("nested deeper than 16 levels"));
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c < 'j'; ++c) {
    const std::string alias = absl::StrCat("*", std::string(1, c - 1));
    absl::StrAppend(&bomb, std::string(1, c), ": &", std::string(1, c), " [");
    for (int i = 0; i < 10; ++i) absl::StrAppend(&bomb, alias, ", ");
    absl::StrAppend(&bomb, "x]\n");
  }
  EXPECT_THAT(Fault(bomb), HasSubstr("more than 10000 values"));
  EXPECT_THAT(Fault("a: &a [*a]"), HasSubstr("nested deeper"));
  EXPECT_THAT(Fault(std::string(2 << 20, '#')), HasSubstr("is over"));
}

TEST_F(ConfigFaultsTest, FileThatCannotBeReadIsNamed) {
  sources_.file = "/does/not/exist.yaml";
  EXPECT_EQ(LoadConfig(sources_).status().message(),
            "/does/not/exist.yaml: cannot be read: No such file or directory");
  sources_.file = "/";
  EXPECT_THAT(std::string(LoadConfig(sources_).status().message()),
              HasSubstr("Is a directory"));
}

}  // namespace
}  // namespace broker::testing
