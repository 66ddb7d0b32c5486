#include "broker/core/log.h"

#include <atomic>
#include <chrono>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class ManualClock final : public Clock {
 public:
  absl::Time Now() const override { return absl::UnixEpoch(); }
  MonotonicTime Monotonic() const override { return now_; }
  void Advance(std::chrono::milliseconds by) { now_ += by; }

 private:
  MonotonicTime now_{std::chrono::hours(1)};
};

class LogTest : public ::testing::Test {
 protected:
  LogTest() {
    SetLogLevel(LogLevel::kInfo);
    SetLogFormat(LogFormat::kJson);
    SetLogSink([this](absl::string_view line) { lines_.emplace_back(line); });
  }
  ~LogTest() override {
    SetLogSink(nullptr);
    SetLogLevel(LogLevel::kInfo);
    SetLogFormat(LogFormat::kAuto);
  }

  // The line that `value` makes as a field.
  std::string LineOf(LogValue value) {
    lines_.clear();
    Log(LogLevel::kInfo, "test", "A test.", {{"key", value}});
    return lines_.empty() ? "" : lines_[0];
  }

  std::vector<std::string> lines_;
};

TEST_F(LogTest, WritesOneJsonObjectPerLine) {
  Log(LogLevel::kWarning, "accept_failed", "No descriptor was left.",
      {{"text", "a b"},
       {"signed", -3},
       {"unsigned", uint64_t{18446744073709551615u}},
       {"flag", true},
       {"ratio", 0.5},
       {"nan", std::numeric_limits<double>::quiet_NaN()}});
  ASSERT_THAT(lines_, SizeIs(1));
  EXPECT_THAT(lines_[0],
              ::testing::MatchesRegex(
                  R"(\{"time":"20..-..-..T..:..:..\....Z","level":"warning",)"
                  R"("event":"accept_failed","message":"No descriptor was )"
                  R"(left.","text":"a b","signed":-3,)"
                  R"("unsigned":18446744073709551615,"flag":true,)"
                  R"("ratio":0.5,"nan":null\})"));
}

TEST_F(LogTest, TextNamesTheEventAndQuotesWhatIsNotOneWord) {
  SetLogFormat(LogFormat::kText);
  Log(LogLevel::kInfo, "started", "The broker is serving.",
      {{"websocket", "127.0.0.1:8080"},
       {"words", "a b"},
       {"equals", "a=b"},
       {"empty", ""},
       {"count", 3}});
  ASSERT_THAT(lines_, SizeIs(1));
  EXPECT_THAT(lines_[0],
              EndsWith(" info    started: The broker is serving. "
                       "websocket=127.0.0.1:8080 words=\"a b\" equals=\"a=b\" "
                       "empty=\"\" count=3"));
}

TEST_F(LogTest, NoValueForgesALine) {
  for (const LogFormat format : {LogFormat::kJson, LogFormat::kText}) {
    SetLogFormat(format);
    std::string evil;
    for (int c = 0; c < 0x20; ++c) evil += static_cast<char>(c);
    evil += "\x7f\xc2\x9b[31m\xe2\x80\xa8\xe2\x80\xae\"} {\"level\":\"error\"";
    const std::string line = LineOf(evil);
    for (const char c : line) {
      EXPECT_GE(static_cast<uint8_t>(c), 0x20) << line;
      EXPECT_LT(static_cast<uint8_t>(c), 0x7f) << line;
    }
    EXPECT_THAT(line, HasSubstr(R"(\u0000)"));
    EXPECT_THAT(line, HasSubstr(R"(\n)"));
    EXPECT_THAT(line, HasSubstr(R"(\u001b)"));
    EXPECT_THAT(line, HasSubstr(R"(\u009b[31m\u2028\u202e\"} {\"level\")"));
  }
}

TEST_F(LogTest, NoValueIsTakenForAFormat) {
  EXPECT_THAT(LineOf("{} {0} %s %n"), HasSubstr(R"("key":"{} {0} %s %n")"));
}

TEST_F(LogTest, KeepsUtf8AndReplacesWhatIsNot) {
  EXPECT_THAT(LineOf("h\xc3\xa9 \xf0\x9f\x98\x80"),
              HasSubstr("\"h\xc3\xa9 \xf0\x9f\x98\x80\""));
  // A lone continuation, an overlong slash, a surrogate, beyond U+10FFFF, a
  // truncated one.
  const struct {
    const char* in;
    int replaced;
  } cases[] = {
      {"\x80", 1},         {"\xc0\xaf", 2},         {"\xe0\x80\xaf", 3},
      {"\xed\xa0\x80", 3}, {"\xf4\x90\x80\x80", 4}, {"\xe2\x82", 2},
      {"\xff", 1}};
  for (const auto& c : cases) {
    std::string want;
    for (int i = 0; i < c.replaced; ++i) want += "\\ufffd";
    EXPECT_THAT(LineOf(c.in),
                HasSubstr(absl::StrCat("\"key\":\"", want, "\"")));
  }
}

TEST_F(LogTest, CutsLongValues) {
  const std::string line = LineOf(std::string(1 << 20, 'x'));
  EXPECT_LT(line.size(), LogValue::kMaxText + 200);
  EXPECT_THAT(line, HasSubstr("xxx...\""));
}

TEST_F(LogTest, LevelIsSetAtRunTime) {
  Log(LogLevel::kDebug, "hidden", "Hidden.");
  EXPECT_THAT(lines_, IsEmpty());
  SetLogLevel(LogLevel::kDebug);
  Log(LogLevel::kDebug, "shown", "Shown.");
  EXPECT_THAT(lines_, SizeIs(1));
  SetLogLevel(LogLevel::kError);
  EXPECT_FALSE(LogEnabled(LogLevel::kWarning));
  Log(LogLevel::kWarning, "hidden", "Hidden.");
  EXPECT_THAT(lines_, SizeIs(1));
}

TEST_F(LogTest, LinesOfManyThreadsDoNotMix) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int n = 0; n < 250; ++n) {
        Log(LogLevel::kInfo, "busy", "Busy.",
            {{"text", std::string(100, 'x')}});
      }
    });
  }
  for (std::thread& t : threads) t.join();
  ASSERT_THAT(lines_, SizeIs(1000));
  for (const std::string& line : lines_) {
    EXPECT_EQ(line.size(), lines_[0].size());
  }
}

TEST_F(LogTest, LimiterSaysHowManyLinesItLeftOut) {
  ManualClock clock;
  LogLimiter limiter(3, clock);
  for (int i = 0; i < 10; ++i) {
    limiter.Log(LogLevel::kWarning, "flood", "Again.", {{"i", i}});
  }
  ASSERT_THAT(lines_, SizeIs(3));
  limiter.Flush();
  EXPECT_THAT(lines_, SizeIs(3)) << "the second is not over";

  clock.Advance(std::chrono::seconds(1));
  limiter.Log(LogLevel::kWarning, "flood", "Again.", {{"i", 10}});
  ASSERT_THAT(lines_, SizeIs(5));
  EXPECT_THAT(lines_[3], HasSubstr(R"("level":"warning","event":"flood")"));
  EXPECT_THAT(lines_[3], HasSubstr(R"("left_out":7)"));
  EXPECT_THAT(lines_[4], HasSubstr(R"("i":10)"));

  clock.Advance(std::chrono::seconds(1));
  limiter.Flush();
  EXPECT_THAT(lines_, SizeIs(5)) << "nothing was left out";
}

TEST_F(LogTest, LimiterIsFlushedWhenTheFloodIsOver) {
  ManualClock clock;
  LogLimiter limiter(1, clock);
  limiter.Log(LogLevel::kInfo, "flood", "Again.");
  limiter.Log(LogLevel::kInfo, "flood", "Again.");
  clock.Advance(std::chrono::seconds(5));
  limiter.Flush();
  ASSERT_THAT(lines_, SizeIs(2));
  EXPECT_THAT(lines_[1], HasSubstr(R"("left_out":1)"));
  EXPECT_THAT(lines_[1], Not(HasSubstr("Again")));
}

}  // namespace
}  // namespace broker
