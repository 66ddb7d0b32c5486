#include "broker/app/command_line.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using Action = CommandLine::Action;

absl::StatusOr<CommandLine> Parse(const std::vector<std::string>& arguments) {
  return ParseCommandLine(arguments, "1.2.3");
}

TEST(CommandLineTest, NothingRuns) {
  const auto line = Parse({});
  ASSERT_TRUE(line.ok());
  EXPECT_EQ(line->action, Action::kRun);
  EXPECT_EQ(line->config_file, "");
  EXPECT_THAT(line->assignments, SizeIs(0));
}

TEST(CommandLineTest, FlagsBecomeAssignments) {
  const auto line =
      Parse({"--config", "a.yaml", "--set", "limits.max_connections=5", "--set",
             "drain.window=1s", "--websocket-port=0", "--control-port", "1",
             "--admin-port", "2", "--address", "::", "--log-level", "debug",
             "--log-format", "json", "--shards", "2"});
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->config_file, "a.yaml");
  ASSERT_THAT(line->assignments, SizeIs(9));
  EXPECT_EQ(line->assignments[0].path, "limits.max_connections");
  EXPECT_EQ(line->assignments[0].value, "5");
  EXPECT_EQ(line->assignments[1].path, "drain.window");
  const Assignment& address = line->assignments[2];
  EXPECT_EQ(address.source, "--address");
  EXPECT_EQ(address.path, "websocket.address");
  EXPECT_EQ(address.value, "::");
}

TEST(CommandLineTest, SettingKeepsWhatIsBehindTheFirstEquals) {
  const auto line = Parse({"--set", "endpoints=[{path: /a=b}]"});
  ASSERT_TRUE(line.ok());
  EXPECT_EQ(line->assignments[0].value, "[{path: /a=b}]");
}

TEST(CommandLineTest, KnowsItsActions) {
  EXPECT_EQ(Parse({"--check-config"})->action, Action::kCheckConfig);
  EXPECT_EQ(Parse({"--print-config"})->action, Action::kPrintConfig);
  EXPECT_EQ(Parse({"--version"})->text, "socket-broker 1.2.3\n");
  const auto help = Parse({"--help"});
  EXPECT_EQ(help->action, Action::kPrintText);
  EXPECT_THAT(help->text,
              AllOf(HasSubstr("--config"), HasSubstr("--set"),
                    HasSubstr("--websocket-port"), HasSubstr("Exit codes")));
}

TEST(CommandLineTest, RefusesWhatItDoesNotKnow) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--nonsense"},
        {"positional"},
        {"--config"},
        {"--set"},
        {"--set", "no-equals"},
        {"--set", "=x"},
        {"--shards", "1", "--shards", "2"}}) {
    const auto line = Parse(arguments);
    EXPECT_EQ(line.status().code(), absl::StatusCode::kInvalidArgument)
        << arguments[0];
  }
  EXPECT_THAT(std::string(Parse({"--nonsense"}).status().message()),
              HasSubstr("--nonsense"));
  EXPECT_THAT(std::string(Parse({"--set", "x"}).status().message()),
              HasSubstr("KEY=VALUE"));
}

}  // namespace
}  // namespace broker
