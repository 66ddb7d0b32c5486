// Where the configuration comes from, file, environment, flags, limits of the
// process; and what a reload may change.

#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/app/config_fixture.h"

namespace broker::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ConfigSourcesTest : public ConfigFixture {};

TEST_F(ConfigSourcesTest, FlagsWinOverTheEnvironmentAndThatOverTheFile) {
  sources_.environment = {{"SOCKET_BROKER_WEBSOCKET_PORT", "2"},
                          {"SOCKET_BROKER_CONTROL_PORT", "2"}};
  sources_.flags = {{"--control-port", "control.port", "3"}};
  const absl::StatusOr<Config> config = Load(
      "websocket: {port: 1, address: 127.0.0.9}\ncontrol: {port: 1}\n"
      "admin: {port: 1}\n");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->admin().port(), 1u);
  EXPECT_EQ(config->websocket().port(), 2u);
  EXPECT_EQ(config->control().port(), 3u);
  EXPECT_EQ(config->websocket().address(), "127.0.0.9") << "the rest is kept";
}

TEST_F(ConfigSourcesTest, AListReplacesAList) {
  sources_.environment = {
      {"SOCKET_BROKER_ENDPOINTS", "[{path: /b, ways: [MANUAL]}]"}};
  const absl::StatusOr<Config> config =
      Load("endpoints: [{path: /a}, {path: /c}]");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->endpoints_size(), 1);
  EXPECT_EQ(config->endpoints(0).path(), "/b");
}

TEST_F(ConfigSourcesTest, FaultsOfFlagsNameTheFlag) {
  sources_.flags = {{"--websocket-port", "websocket.port", "x"},
                    {"--set", "limits.max_conection", "1"},
                    {"--set", "log.level.x", "1"},
                    {"--set", "endpoints", "[}"},
                    {"--set", "limits", "{zzz: 1}"}};
  const std::string message(LoadConfig(sources_).status().message());
  for (const char* fault :
       {"--websocket-port: websocket.port: \"x\" is not allowed; allowed is a",
        "--set: there is no key \"limits.max_conection\"; did you mean "
        "\"limits.max_connections\"?",
        "--set: there is no key \"log.level.x\": below \"log.level\" there is",
        "--set: endpoints: 1: not YAML: ",
        "--set:1: there is no key "
        "\"limits.zzz\""}) {
    EXPECT_THAT(message, HasSubstr(fault));
  }
}

TEST_F(ConfigSourcesTest, UnknownVariablesAreRefusedButNotThoseOfOthers) {
  sources_.environment = {{"SOCKET_BROKER_WEBSOCKET_PROT", "1"}};
  EXPECT_EQ(LoadConfig(sources_).status().message(),
            "SOCKET_BROKER_WEBSOCKET_PROT: there is no such variable; did you "
            "mean SOCKET_BROKER_WEBSOCKET_PORT?");
  sources_.environment = {
      {"SOCKET_BROKER_ADDRESS", "brokerctl's"},
      {"SOCKET_BROKER_SERVICE_HOST", "10.0.0.1"},
      {"SOCKET_BROKER_SERVICE_PORT", "50051"},
      {"SOCKET_BROKER_SERVICE_PORT_GRPC", "50051"},
      {"SOCKET_BROKER_PORT", "tcp://10.0.0.1:50051"},
      {"SOCKET_BROKER_PORT_50051_TCP", "tcp://10.0.0.1:50051"},
      {"SOCKET_BROKER_PORT_50051_TCP_PROTO", "tcp"},
      {"SOCKET_BROKER_PORT_50051_TCP_PORT", "50051"},
      {"SOCKET_BROKER_PORT_50051_TCP_ADDR", "10.0.0.1"},
      {"SOCKET_BROKER_ADMIN_PORT", "tcp://10.0.0.1:8081"},
  };
  const absl::StatusOr<Config> config = LoadConfig(sources_);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->admin().port(), 8081u);
}

TEST_F(ConfigSourcesTest, TheFileMayComeFromTheEnvironment) {
  ASSERT_TRUE(Load("shards: 7").ok());
  sources_.file.clear();
  sources_.environment = {{"SOCKET_BROKER_CONFIG", file_}};
  EXPECT_EQ(LoadConfig(sources_)->shards(), 7u);
}

TEST_F(ConfigSourcesTest, EveryKeyHasAVariableOfItsOwn) {
  std::set<std::string> names;
  for (const std::string& path : AssignablePaths(*Config::descriptor())) {
    std::string name = path;
    for (char& c : name) c = c == '.' ? '_' : c;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
  EXPECT_GT(names.size(), 20u);
}

TEST_F(ConfigSourcesTest, FewDescriptorsAreAFaultOrALowLimit) {
  sources_.descriptor_limit = 1024;
  EXPECT_EQ(LoadConfig(sources_)->limits().max_connections(), 512u);
  sources_.descriptor_limit = 256;
  EXPECT_THAT(std::string(LoadConfig(sources_).status().message()),
              HasSubstr("may open 256 descriptors"));
  sources_.descriptor_limit = 1'000'000'000;
  EXPECT_EQ(LoadConfig(sources_)->limits().max_connections(), 1'000'000u);
}

TEST_F(ConfigSourcesTest, KnowsWhatNeedsARestart) {
  const Config running = *Load("{}");
  EXPECT_THAT(KeysThatNeedRestart(running, running), IsEmpty());
  EXPECT_THAT(
      KeysThatNeedRestart(
          running, *Load("log: {level: error}\ndrain: {window: 1s}\n"
                         "endpoints: [{path: /x}]\nlimits: {ping_interval: "
                         "1s}\n")),
      IsEmpty());
  EXPECT_THAT(
      KeysThatNeedRestart(
          running,
          *Load("websocket: {port: 0, address: 0.0.0.0}\nshards: 99\n"
                "control: {port: 0, address: 127.0.0.2}\nreflection: OFF\n"
                "admin: {port: 0, address: 127.0.0.2, enabled: false}")),
      ElementsAre("websocket.address", "websocket.port", "control.address",
                  "control.port", "admin.address", "admin.port",
                  "admin.enabled", "shards", "reflection"));
}

// Whether there is TLS needs a restart; which files it uses does not.
TEST_F(ConfigSourcesTest, AReloadTakesOtherFilesForTls) {
  const auto tls = [&](const std::string& name) {
    return *Load(absl::StrCat("websocket: {port: 1, tls: {certificate_file: ",
                              name, ", private_key_file: b}}"));
  };
  const Config plain = *Load("{}");
  EXPECT_THAT(KeysThatNeedRestart(plain, tls("a")),
              ElementsAre("websocket.port", "websocket.tls"));
  EXPECT_THAT(KeysThatNeedRestart(tls("a"), tls("c")), IsEmpty());
  Config loaded = tls("c");
  KeepUntilRestart(tls("a"), loaded);
  EXPECT_EQ(loaded.websocket().tls().certificate_file(), "c");
  KeepUntilRestart(plain, loaded);
  EXPECT_FALSE(loaded.websocket().has_tls());
}

TEST_F(ConfigSourcesTest, AReloadKeepsWhatNeedsARestart) {
  const Config running = *Load("websocket: {address: 0.0.0.0}");
  Config loaded = *Load(
      "websocket: {port: 0}\ncontrol: {port: 0}\nadmin: {port: 0}\n"
      "shards: 99\nreflection: OFF\nlog: {level: error}");
  KeepUntilRestart(running, loaded);
  EXPECT_THAT(KeysThatNeedRestart(running, loaded), IsEmpty());
  EXPECT_FALSE(ToSettings(loaded)->loopback_listener);
  EXPECT_EQ(ToLogLevel(loaded), LogLevel::kError) << "the rest is new";
}

}  // namespace
}  // namespace broker::testing
