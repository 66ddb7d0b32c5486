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
  } kCases[] = {
      {R"({"jsonrpc":"2.0","method":"m"})", EnvelopeKind::kNotification},
      {R"({"jsonrpc":"2.0","method":"m","params":{"id":1,"result":2}})",
       EnvelopeKind::kNotification},
      {R"({"jsonrpc":"2.0","id":"1","result":null})", EnvelopeKind::kResponse},
      {R"({"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"x"}})",
       EnvelopeKind::kErrorResponse},
      {R"({"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"","data":[]}})",
       EnvelopeKind::kErrorResponse},
  };
  for (const auto& c : kCases) {
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
  const std::string kTexts[] = {
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
      std::string("{\"jsonrpc\":\"2.0\",\"method\":\"m\"}\0x", 33),
      "\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"method\":\"m\"}",
  };
  for (const std::string& text : kTexts) {
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

}  // namespace
}  // namespace broker
