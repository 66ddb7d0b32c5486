// What the audit says of a call, and what it never says.

#include "broker/control/audit.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "broker/core/log.h"
#include "broker/core/status.h"
#include "gtest/gtest.h"
#include "socketbroker/v1/socket_broker.pb.h"

namespace broker::control {
namespace {

namespace v1 = ::socketbroker::v1;

class AuditTest : public ::testing::Test {
 protected:
  AuditTest() {
    SetLogFormat(LogFormat::kJson);
    SetLogSink([this](absl::string_view line) { lines_.emplace_back(line); });
  }
  ~AuditTest() override {
    SetAuditSends(false);
    SetLogSink(nullptr);
  }
  bool Says(absl::string_view part) {
    return lines_.size() == 1 && absl::StrContains(lines_[0], part);
  }

  std::vector<std::string> lines_;
  const Caller& caller_ = *AnonymousCaller();
};

TEST_F(AuditTest, ACloseHasCountsAndEpochAndNoKey) {
  v1::CloseSocketsForSessionRequest request;
  request.set_token_hash("canary");
  v1::CloseSocketsForSessionResponse response;
  response.set_closed(3);
  response.set_epoch(17);
  AuditCall<v1::CloseSocketsForSessionRequest,
            v1::CloseSocketsForSessionResponse>(
      caller_, RuleFor("CloseSocketsForSession"), request, response, false);
  EXPECT_TRUE(
      Says(R"("caller":"anonymous","method":"CloseSocketsForSession")"));
  EXPECT_TRUE(Says(R"("outcome":"OK","target":"session )"));
  EXPECT_TRUE(Says(R"("namespace":"*","closed":3,"epoch":17})"));
  EXPECT_FALSE(absl::StrContains(lines_[0], "canary"));
}

// The first digits that sha256sum shows.
TEST_F(AuditTest, AKeyIsItsHash) {
  EXPECT_EQ(audit::Key("account", "a1"), "account f55ff16f66f4");
  EXPECT_EQ(audit::Key("account", ""), "account missing");
  EXPECT_EQ(audit::Id("connection", "canary"), "connection malformed");
}

TEST_F(AuditTest, WhoIsGoneIsSaidToBe) {
  v1::SendRequest request;
  v1::SendResponse response;
  response.set_matched(10);
  response.set_queued(9);
  const absl::StatusOr<v1::SendResponse> result = response;
  AuditCall(caller_, RuleFor("Send"), request, result, true);
  EXPECT_TRUE(lines_.empty());  // Sends are not told of.
  SetAuditSends(true);
  AuditCall(caller_, RuleFor("Send"), request, result, true);
  EXPECT_TRUE(Says(R"("outcome":"CANCELLED","target":"everybody")"));
  EXPECT_TRUE(Says(R"("matched":10,"queued":9)"));
}

TEST_F(AuditTest, DenialsAreToldOfWhateverTheCall) {
  const absl::StatusOr<v1::GetConnectionResponse> denied =
      WithReason(absl::PermissionDeniedError("canary"), "ROLE_MISSING");
  AuditCall(caller_, RuleFor("GetConnection"), v1::GetConnectionRequest(),
            denied, false);
  EXPECT_TRUE(Says(R"("level":"warning")"));
  EXPECT_TRUE(Says(R"("outcome":"PERMISSION_DENIED","reason":"ROLE_MISSING")"));
  EXPECT_FALSE(absl::StrContains(lines_[0], "canary"));
  AuditCall(
      caller_, RuleFor("GetConnection"), v1::GetConnectionRequest(),
      absl::StatusOr<v1::GetConnectionResponse>(absl::NotFoundError("gone")),
      false);
  EXPECT_EQ(lines_.size(), 1u);
}

TEST_F(AuditTest, AFloodOfDenialsIsCut) {
  for (int i = 0; i < 1'000; ++i) {
    AuditDenied("stranger", RuleFor("Send"), absl::UnauthenticatedError(""));
  }
  EXPECT_LT(lines_.size(), 500u);
}

}  // namespace
}  // namespace broker::control
