#include "broker/session/envelope.h"

#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

std::string Repeat(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

// A notification whose params are `inner` arrays, one in the other.
std::string Nested(int inner) {
  return absl::StrCat(R"({"jsonrpc":"2.0","method":"m","params":)",
                      Repeat("[", inner), Repeat("]", inner), "}");
}

TEST(EnvelopeTest, ReadsARequest) {
  const EnvelopeResult r = ParseEnvelope(
      R"({"jsonrpc": "2.0", "method": "sum\u0021", "params": [1], "id": 7})");
  ASSERT_EQ(r.fault, EnvelopeFault::kNone) << r.reason;
  EXPECT_EQ(r.envelope.kind, EnvelopeKind::kRequest);
  EXPECT_EQ(r.envelope.method, "sum!");
  EXPECT_EQ(r.envelope.id_json, "7");
}

TEST(EnvelopeTest, EchoesTheIdAsItStands) {
  for (const char* id :
       {"0", "-0", "-12", "1.50", "1e2", "1E+2", "18446744073709551616",
        "123456789012345678901234567890", R"("a")", R"("a\u0062\"\\ ")",
        "\"\xc3\xa9\"", R"("")"}) {
    for (const char* format :
         {R"({"jsonrpc":"2.0","method":"m","id":%s})",
          R"({"jsonrpc":"2.0","id" : %s ,"method":"m"})",
          "{\"i\\u0064\"\n:\t%s\r\n,\"jsonrpc\":\"2.0\",\"method\":\"m\"}"}) {
      std::string text = format;
      text.replace(text.find("%s"), 2, id);
      const EnvelopeResult r = ParseEnvelope(text);
      ASSERT_EQ(r.fault, EnvelopeFault::kNone) << text << r.reason;
      EXPECT_EQ(r.envelope.kind, EnvelopeKind::kRequest);
      EXPECT_EQ(r.envelope.id_json, id) << text;
    }
  }
}

TEST(EnvelopeTest, ReadsTheOtherKinds) {
  const struct {
    const char* text;
    EnvelopeKind kind;
  } cases[] = {
      {R"({"jsonrpc":"2.0","method":"m"})", EnvelopeKind::kNotification},
      {R"({"jsonrpc":"2.0","method":"m","params":{"id":1,"result":2}})",
       EnvelopeKind::kNotification},
      {R"({"jsonrpc":"2.0","id":"1","result":null})", EnvelopeKind::kResponse},
      {R"({"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"x"}})",
       EnvelopeKind::kErrorResponse},
      {R"({"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"","data":[]}})",
       EnvelopeKind::kErrorResponse},
  };
  for (const auto& c : cases) {
    const EnvelopeResult r = ParseEnvelope(c.text);
    EXPECT_EQ(r.fault, EnvelopeFault::kNone) << c.text << r.reason;
    EXPECT_EQ(r.envelope.kind, c.kind) << c.text;
  }
}

TEST(EnvelopeTest, TakesMembersThatItDoesNotKnow) {
  EXPECT_EQ(ParseEnvelope(R"({"jsonrpc":"2.0","method":"m","meta":{"a":[{}]}})")
                .fault,
            EnvelopeFault::kNone);
}

TEST(EnvelopeTest, RefusesWhatIsNotJson) {
  const std::string texts[] = {
      "",
      " ",
      "{",
      "nope",
      R"({"jsonrpc":"2.0","method":"m"} x)",
      R"({"jsonrpc":"2.0","method":"m"}{})",
      R"({"jsonrpc":"2.0","method":"m",})",
      R"({'jsonrpc':'2.0','method':'m'})",
      R"({"jsonrpc":"2.0","method":"m"} // comment)",
      R"({"jsonrpc":"2.0","method":"m","params":[NaN]})",
      R"({"jsonrpc":"2.0","method":"m","params":[1e999]})",
      R"({"jsonrpc":"2.0","method":"m","params":[01]})",
      R"({"jsonrpc":"2.0","method":"\ud800"})",
      "{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}",
      "{\"jsonrpc\":\"2.0\",\"method\":\"\xc0\xaf\"}",
      "{\"jsonrpc\":\"2.0\",\"method\":\"\xed\xa0\x80\"}",
      "{\"jsonrpc\":\"2.0\",\"method\":\"a\nb\"}",
      // nlohmann takes the NUL for the end and skips the mark.
      std::string("{\"jsonrpc\":\"2.0\",\"method\":\"m\"}\0x", 32),
      "\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"method\":\"m\"}",
  };
  for (const std::string& text : texts) {
    const EnvelopeResult r = ParseEnvelope(text);
    EXPECT_EQ(r.fault, EnvelopeFault::kParseError) << text;
    EXPECT_EQ(r.envelope.id_json, "null");
  }
}

TEST(EnvelopeTest, RefusesWhatIsNoMessage) {
  for (
      const char* text : {
          "1",
          "null",
          R"("x")",
          "[]",
          R"([{"jsonrpc":"2.0","method":"m"}])",
          "{}",
          R"({"method":"m"})",
          R"({"jsonrpc":2.0,"method":"m"})",
          R"({"jsonrpc":"1.0","method":"m"})",
          R"({"jsonrpc":"2.0"})",
          R"({"jsonrpc":"2.0","id":1})",
          R"({"jsonrpc":"2.0","method":1})",
          R"({"jsonrpc":"2.0","method":null,"id":1})",
          R"({"jsonrpc":"2.0","method":"m","params":1})",
          R"({"jsonrpc":"2.0","method":"m","params":null})",
          R"({"jsonrpc":"2.0","method":"m","id":null})",
          R"({"jsonrpc":"2.0","method":"m","id":true})",
          R"({"jsonrpc":"2.0","method":"m","id":{}})",
          R"({"jsonrpc":"2.0","method":"m","id":[1]})",
          R"({"jsonrpc":"2.0","method":"m","result":1,"id":1})",
          R"({"jsonrpc":"2.0","method":"m","error":{"code":1,"message":""}})",
          R"({"jsonrpc":"2.0","id":1,"result":1,"params":[]})",
          R"({"jsonrpc":"2.0","result":1})",
          R"({"jsonrpc":"2.0","result":1,"id":null})",
          R"({"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":""}})",
          R"({"jsonrpc":"2.0","id":1,"error":1})",
          R"({"jsonrpc":"2.0","id":1,"error":null})",
          R"({"jsonrpc":"2.0","id":1,"error":{"code":"1","message":""}})",
          R"({"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":""}})",
          R"({"jsonrpc":"2.0","id":1,"error":{"code":1}})",
          R"({"jsonrpc":"2.0","id":1,"error":{"message":""}})",
          R"({"jsonrpc":"2.0","id":1,"error":[{"code":1,"message":""}]})",
          R"({"jsonrpc":"2.0","error":{"code":1,"message":""}})",
      }) {
    const EnvelopeResult r = ParseEnvelope(text);
    EXPECT_EQ(r.fault, EnvelopeFault::kInvalidRequest) << text;
    EXPECT_NE(r.reason, "") << text;
  }
}

TEST(EnvelopeTest, AFaultIsAnsweredToTheIdWhenThereIsOne) {
  const auto id = [](absl::string_view text) {
    return ParseEnvelope(text).envelope.id_json;
  };
  EXPECT_EQ(id(R"({"jsonrpc":"2.0","id":"a","method":1})"), R"("a")");
  EXPECT_EQ(id(R"({"jsonrpc":"2.0","id":5,"params":[]})"), "5");
  EXPECT_EQ(id(R"({"jsonrpc":"2.0","id":{},"method":"m"})"), "null");
  EXPECT_EQ(id(R"({"jsonrpc":"2.0","id":1,"id":2,"method":"m"})"), "null");
  EXPECT_EQ(id(R"({"jsonrpc":"2.0","id":1,"method":"m")"), "null");
}

TEST(EnvelopeTest, RefusesKeysGivenTwiceAtAnyLevel) {
  for (const char* text : {
           R"({"jsonrpc":"2.0","method":"m","method":"n"})",
           R"({"jsonrpc":"2.0","method":"m","m\u0065thod":"n"})",
           R"({"jsonrpc":"2.0","method":"m","params":{"a":1,"b":2,"a":3}})",
           R"({"jsonrpc":"2.0","method":"m","params":[[{"a":{"b":1,"b":1}}]]})",
       }) {
    const EnvelopeResult r = ParseEnvelope(text);
    EXPECT_EQ(r.fault, EnvelopeFault::kInvalidRequest) << text;
    EXPECT_THAT(std::string(r.reason), HasSubstr("twice"));
  }
  // Once per object is fine, in siblings and one in the other.
  EXPECT_EQ(
      ParseEnvelope(
          R"({"jsonrpc":"2.0","method":"m","params":[{"a":1},{"a":{"a":1}}]})")
          .fault,
      EnvelopeFault::kNone);
}

TEST(EnvelopeTest, RefusesDepthOver32) {
  EXPECT_EQ(ParseEnvelope(Nested(31)).fault, EnvelopeFault::kNone);
  EXPECT_EQ(ParseEnvelope(Nested(32)).fault, EnvelopeFault::kInvalidRequest);
  EXPECT_EQ(ParseEnvelope(std::string(1 << 20, '[')).fault,
            EnvelopeFault::kInvalidRequest);
  EXPECT_EQ(ParseEnvelope(Repeat("{\"a\":", 200'000)).fault,
            EnvelopeFault::kInvalidRequest);
}

TEST(EnvelopeTest, ErrorReplyIsAnErrorResponse) {
  const std::string reply =
      MakeErrorReply(R"("a\u0062")", -32601, "no \"service\"\n\xff");
  EXPECT_EQ(reply, R"({"jsonrpc":"2.0","id":"a\u0062","error":{"code":-32601,)"
                   "\"message\":\"no \\\"service\\\"\\n\xef\xbf\xbd\"}}");
  EXPECT_EQ(ParseEnvelope(reply).envelope.kind, EnvelopeKind::kErrorResponse);
  EXPECT_EQ(ParseEnvelope(MakeErrorReply("null", -32700, "x")).envelope.kind,
            EnvelopeKind::kErrorResponse);
}

TEST(ValidateOutgoingTest, TakesAllButRequests) {
  EXPECT_TRUE(ValidateOutgoing(R"({"jsonrpc":"2.0","method":"m"})").ok());
  EXPECT_TRUE(ValidateOutgoing(R"({"jsonrpc":"2.0","id":1,"result":1})").ok());
  const absl::Status status =
      ValidateOutgoing(R"({"jsonrpc":"2.0","id":1,"method":"tick\u001b"})");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("Send carries no requests"));
  EXPECT_THAT(std::string(status.message()), HasSubstr(R"(tick\x1b)"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("RequestConnection"));
  ASSERT_THAT(GetFieldViolations(status), SizeIs(1));
  EXPECT_EQ(GetFieldViolations(BelowField("text", status))[0].field, "text");
}

TEST(ValidateOutgoingTest, SaysWhatIsWrong) {
  EXPECT_THAT(std::string(ValidateOutgoing("{").message()),
              HasSubstr("not a JSON text"));
  EXPECT_THAT(std::string(ValidateOutgoing(Nested(32)).message()),
              HasSubstr("32 levels"));
  EXPECT_THAT(std::string(ValidateOutgoing("[]").message()),
              HasSubstr("batch"));
}

TEST(ValidateParamsTest, TakesAnObjectOrAnArray) {
  for (const char* json : {"{}", "[]", R"({"a":[1,{"b":null}]})", " [1] "}) {
    EXPECT_TRUE(ValidateParams(json).ok()) << json;
  }
  EXPECT_TRUE(ValidateParams(Repeat("[", 31) + Repeat("]", 31)).ok());
  for (const std::string& json :
       {std::string(""), std::string("1"), std::string("\"x\""),
        std::string("null"), std::string("[1"), std::string("[1] [2]"),
        std::string("{\"a\":1,\"a\":2}"), std::string("{}\0", 3),
        std::string("[\"\xff\"]"), Repeat("[", 32) + Repeat("]", 32)}) {
    EXPECT_EQ(ValidateParams(json).code(), absl::StatusCode::kInvalidArgument)
        << json;
  }
}

TEST(MakeNotificationTest, IsWhatItSays) {
  EXPECT_EQ(MakeNotification("a\"b\n", R"({"x": 1})"),
            R"({"jsonrpc":"2.0","method":"a\"b\n","params":{"x": 1}})");
  EXPECT_EQ(MakeNotification("m", ""), R"({"jsonrpc":"2.0","method":"m"})");
  EXPECT_TRUE(ValidateOutgoing(MakeNotification("m", "[1]")).ok());
}

TEST(EnvelopeTest, PointsAtParamsAndOutcomesAsTheyStand) {
  const auto params = [](const std::string& json) {
    const std::string text =
        absl::StrCat(R"({"jsonrpc":"2.0","params" : )", json,
                     R"( ,"method":"m","x":{"params":[2]}})");
    const EnvelopeResult r = ParseEnvelope(text);
    EXPECT_EQ(r.fault, EnvelopeFault::kNone) << text << r.reason;
    return std::string(r.envelope.params_json);
  };
  for (const char* json :
       {"{}", "[]", "[ 1, [2] ]", R"({"a" : {"b":"}"}, "c":[{}]})"}) {
    EXPECT_EQ(params(json), json);
  }
  const auto outcome = [](const std::string& member) {
    const std::string text =
        absl::StrCat(R"({ "id":"s7",)", member, R"(,"jsonrpc":"2.0"})");
    const EnvelopeResult r = ParseEnvelope(text);
    EXPECT_EQ(r.fault, EnvelopeFault::kNone) << text << r.reason;
    EXPECT_EQ(r.envelope.reply_to, "s7");
    return std::string(r.envelope.outcome_json);
  };
  for (const char* json :
       {"{}", "[1, 2 ]", "null", "true", "-1.5e3", R"("a\u0062\"")", "0"}) {
    EXPECT_EQ(outcome(absl::StrCat(R"("result": )", json)), json);
  }
  EXPECT_EQ(outcome(R"("error":{"code":1,"message":"m","data":[1]})"),
            R"({"code":1,"message":"m","data":[1]})");
}

TEST(EnvelopeTest, DecodesTheIdOfAReply) {
  const EnvelopeResult r =
      ParseEnvelope(R"({"jsonrpc":"2.0","id":"\u00731","result":1})");
  EXPECT_EQ(r.envelope.reply_to, "s1");
  EXPECT_EQ(ReadRequestNumber("s1"), 1);
  EXPECT_EQ(ReadRequestNumber("s18446744073709551615"), ~uint64_t{0});
  for (const char* none : {"", "s", "1", "s0", "s01", "s-1", "s1 ", "S1",
                           "s18446744073709551616"}) {
    EXPECT_EQ(ReadRequestNumber(none), 0) << none;
  }
}

TEST(EnvelopeTest, TakesATraceContextThatIsOne) {
  const std::string good =
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const auto read = [](const std::string& value) {
    return ParseEnvelope(
               absl::StrCat(R"({"jsonrpc":"2.0","method":"m","traceparent":")",
                            value, R"("})"))
        .envelope.traceparent;
  };
  EXPECT_EQ(read(good), good);
  for (const char* bad :
       {"", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}) {
    EXPECT_EQ(read(bad), "") << bad;
  }
}

TEST(EnvelopeTest, FindsWhatIsCancelled) {
  EXPECT_EQ(FindCancelledId(R"({"request_id": 7})"), "7");
  EXPECT_EQ(FindCancelledId(R"({"id":"a"})"), R"("a")");
  EXPECT_EQ(FindCancelledId(R"({"id":1,"request_id":2})"), "2");
  for (const char* none :
       {"", "{}", "[7]", "7", R"({"request_id":[7]})", R"({"request_id":7)"}) {
    EXPECT_EQ(FindCancelledId(none), "") << none;
  }
}

TEST(EnvelopeTest, WritesRequestsAndReplies) {
  EXPECT_EQ(MakeRequest(7, "a\"b", "[1]"),
            R"({"jsonrpc":"2.0","id":"s7","method":"a\"b","params":[1]})");
  EXPECT_EQ(MakeRequest(8, "m", ""),
            R"({"jsonrpc":"2.0","id":"s8","method":"m"})");
  EXPECT_EQ(MakeReply("\"x\"", "result", "{ }"),
            R"({"jsonrpc":"2.0","id":"x","result":{ }})");
  EXPECT_EQ(MakeErrorReply("1", -32000, "no", R"({"retry_after":1})"),
            R"({"jsonrpc":"2.0","id":1,"error":)"
            R"({"code":-32000,"message":"no","data":{"retry_after":1}}})");
}

TEST(EnvelopeTest, HoldsServicesToWhatClientsCanRead) {
  for (const char* good : {"1", "null", "\"a\"", " {} ", "[1]", "false"}) {
    EXPECT_TRUE(ValidateResult(good).ok()) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string("{"), std::string("1 2"),
        std::string(R"({"a":1,"a":2})"), Repeat("[", 32) + Repeat("]", 32)}) {
    EXPECT_FALSE(ValidateResult(bad).ok()) << bad;
    EXPECT_FALSE(ValidateError(bad).ok()) << bad;
  }
  EXPECT_TRUE(ValidateResult(Repeat("[", 31) + Repeat("]", 31)).ok());
  EXPECT_TRUE(ValidateErrorData(Repeat("[", 30) + Repeat("]", 30)).ok());
  EXPECT_FALSE(ValidateErrorData(Repeat("[", 31) + Repeat("]", 31)).ok());
  EXPECT_TRUE(ValidateError(R"({"code":1,"message":"m","x":2})").ok());
  for (const char* bad :
       {"[]", "1", "{}", R"({"code":1})", R"({"code":1.5,"message":"m"})",
        R"({"code":1,"message":2})"}) {
    EXPECT_FALSE(ValidateError(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace broker
