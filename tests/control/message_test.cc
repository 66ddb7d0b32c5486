#include "broker/control/message.h"

#include <chrono>

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
    return ReadMessageFor(ns, settings_, true, message_, kNow);
  }
  std::string Field(const std::string& ns = "default") {
    const auto violations = GetFieldViolations(Read(ns).status());
    return violations.empty() ? "" : violations[0].field;
  }
  std::string Wire() { return Read()->frame->bytes().substr(2); }

  static constexpr MonotonicTime kNow{std::chrono::hours(1)};
  Settings settings_;
  v1::Message message_;
};

class OptionsTest : public MessageTest {
 protected:
  OptionsTest() { message_.mutable_notification()->set_method("m"); }
  const MessageOptions* Options() {
    outgoing_ = *Read();
    return outgoing_.frame->options();
  }

 private:
  Outgoing outgoing_;
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
        ReadMessage(true, message_, kNow)->CheckFits(framing, 1'000));
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
  EXPECT_FALSE(
      ReadMessageFor("default", settings_, false, message_, kNow).ok());
}

TEST_F(MessageTest, TheLimitOfTheNamespaceHolds) {
  settings_.endpoints[1].max_message_bytes = 10;
  message_.set_text("0123456789");
  EXPECT_TRUE(Read("raw").ok());
  message_.set_text("0123456789x");
  EXPECT_EQ(Field("raw"), "message");
}

TEST_F(OptionsTest, MostMessagesHaveNone) {
  EXPECT_EQ(Options(), nullptr);
  message_.set_slow_policy(v1::SLOW_POLICY_CLOSE);
  EXPECT_EQ(Options(), nullptr);
}

TEST_F(OptionsTest, ATimeToLiveCountsFromNow) {
  message_.mutable_ttl()->set_seconds(1);
  EXPECT_EQ(Options()->expires_at, kNow + std::chrono::seconds(1));
  EXPECT_EQ(Options()->slow_policy, SlowPolicy::kClose);
  message_.mutable_ttl()->set_seconds(0);
  for (const int nanos : {-1, 0, 999'999}) {
    message_.mutable_ttl()->set_nanos(nanos);
    EXPECT_EQ(Field(), "message.ttl") << nanos;
  }
  message_.mutable_ttl()->set_nanos(1'000'000);
  EXPECT_EQ(Options()->expires_at, kNow + std::chrono::milliseconds(1));
  message_.mutable_ttl()->set_nanos(0);
  message_.mutable_ttl()->set_seconds(3600);
  EXPECT_EQ(Options()->expires_at, kNow + std::chrono::hours(1));
  message_.mutable_ttl()->set_nanos(1);
  EXPECT_EQ(Field(), "message.ttl");
}

TEST_F(OptionsTest, APolicyIsOneOfThree) {
  message_.set_slow_policy(v1::SLOW_POLICY_DROP);
  EXPECT_EQ(Options()->slow_policy, SlowPolicy::kDrop);
  EXPECT_EQ(Options()->expires_at, MonotonicTime::max());
  message_.set_slow_policy(static_cast<v1::SlowPolicy>(9));
  EXPECT_EQ(Field(), "message.slow_policy");
}

TEST_F(OptionsTest, AKeyIsForLatestAndLatestNeedsOne) {
  message_.set_slow_policy(v1::SLOW_POLICY_LATEST);
  EXPECT_EQ(Field(), "message.conflation_key");
  message_.set_conflation_key(std::string(256, 'k'));
  EXPECT_EQ(Options()->slow_policy, SlowPolicy::kLatest);
  EXPECT_EQ(Options()->conflation_key, message_.conflation_key());
  message_.set_conflation_key(std::string(257, 'k'));
  EXPECT_EQ(Field(), "message.conflation_key");
  message_.set_conflation_key("k");
  for (const auto policy : {v1::SLOW_POLICY_UNSPECIFIED, v1::SLOW_POLICY_CLOSE,
                            v1::SLOW_POLICY_DROP}) {
    message_.set_slow_policy(policy);
    EXPECT_EQ(Field(), "message.conflation_key");
  }
}

}  // namespace
}  // namespace broker
