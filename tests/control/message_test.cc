#include "broker/control/message.h"

#include "absl/strings/match.h"
#include "broker/core/status.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::v1;

class MessageTest : public ::testing::Test {
 protected:
  MessageTest() {
    settings_.endpoints.emplace_back();
    settings_.endpoints.emplace_back();
    settings_.endpoints[1].ns = "raw";
    settings_.endpoints[1].framing = Framing::kRaw;
  }
  absl::StatusOr<Outgoing> Read(const std::string& ns = "default") {
    return ReadMessageFor(ns, settings_, true, message_);
  }
  std::string Field(const std::string& ns = "default") {
    const auto violations = GetFieldViolations(Read(ns).status());
    return violations.empty() ? "" : violations[0].field;
  }
  std::string Wire() { return Read()->frame->bytes().substr(2); }

  Settings settings_;
  v1::Message message_;
};

TEST_F(MessageTest, TextGoesOutAsGiven) {
  message_.set_text(R"( {"method":"m",  "jsonrpc":"2.0"} )");
  EXPECT_EQ(Wire(), message_.text());
}

TEST_F(MessageTest, ARequestIsRefusedOnJsonRpcAndFineOnRaw) {
  message_.set_text(R"({"jsonrpc":"2.0","method":"m","id":1})");
  EXPECT_EQ(Field(), "message.text");
  EXPECT_TRUE(Read("raw").ok());
  message_.set_text("anything");
  EXPECT_EQ(Field(), "message.text");
  EXPECT_TRUE(Read("raw").ok());
}

TEST_F(MessageTest, BinaryIsForRawOnly) {
  message_.set_binary(std::string("\0\xff", 2));
  EXPECT_EQ(Field(), "message.binary");
  EXPECT_EQ(Read("raw")->frame->opcode(), Opcode::kBinary);
}

TEST_F(MessageTest, WhatIsReadForAnyFramingIsCheckedAgainstEach) {
  const auto field = [&](Framing framing) {
    const auto violations = GetFieldViolations(
        ReadMessage(true, message_)->CheckFits(framing, 1'000));
    return violations.empty() ? "" : violations[0].field;
  };
  message_.set_text("anything");
  EXPECT_EQ(field(Framing::kJsonRpc), "message.text");
  EXPECT_EQ(field(Framing::kRaw), "");
  message_.set_binary("anything");
  EXPECT_EQ(field(Framing::kJsonRpc), "message.binary");
  EXPECT_EQ(field(Framing::kRaw), "");
}

TEST_F(MessageTest, NotificationsAreWrittenOut) {
  message_.mutable_notification()->set_method("say \"hi\"");
  EXPECT_EQ(Wire(), R"({"jsonrpc":"2.0","method":"say \"hi\""})");
  message_.mutable_notification()->set_params_json(R"([ 1, "b" ])");
  EXPECT_TRUE(absl::StrContains(Wire(), R"("params":[ 1, "b" ])")) << Wire();
  auto& fields = *message_.mutable_notification()
                      ->mutable_params_struct()
                      ->mutable_fields();
  fields["k"].set_string_value("v");
  EXPECT_TRUE(absl::StrContains(Wire(), R"("params":{"k":"v"})")) << Wire();
}

TEST_F(MessageTest, BadNotificationsNameTheField) {
  message_.mutable_notification();
  EXPECT_EQ(Field(), "message.notification.method");
  message_.mutable_notification()->set_method("rpc.x");
  EXPECT_EQ(Field(), "message.notification.method");
  message_.mutable_notification()->set_method(std::string(257, 'm'));
  EXPECT_EQ(Field(), "message.notification.method");
  message_.mutable_notification()->set_method("m");
  for (const char* bad :
       {"", "1", "\"text\"", "{", "{\"a\":1,\"a\":2}", "{} {}"}) {
    message_.mutable_notification()->set_params_json(bad);
    EXPECT_EQ(Field(), "message.notification.params_json") << bad;
  }
}

TEST_F(MessageTest, NothingToSendIsRefused) {
  EXPECT_EQ(Field(), "message");
  EXPECT_FALSE(ReadMessageFor("default", settings_, false, message_).ok());
}

TEST_F(MessageTest, TheLimitOfTheNamespaceHolds) {
  settings_.endpoints[1].max_message_bytes = 10;
  message_.set_text("0123456789");
  EXPECT_TRUE(Read("raw").ok());
  message_.set_text("0123456789x");
  EXPECT_EQ(Field("raw"), "message");
}

}  // namespace
}  // namespace broker
