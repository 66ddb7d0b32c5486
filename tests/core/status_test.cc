#include "broker/core/status.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "broker/core/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

TEST(StatusTest, InvalidFieldNamesTheField) {
  const absl::Status status = InvalidField("account_id", "must not be empty");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "account_id: must not be empty");
  ASSERT_THAT(GetFieldViolations(status), SizeIs(1));
  EXPECT_EQ(GetFieldViolations(status)[0].field, "account_id");
  EXPECT_EQ(GetFieldViolations(status)[0].description, "must not be empty");
}

TEST(StatusTest, BelowFieldAddsToThePath) {
  const absl::Status inner = InvalidField("account_id", "must not be empty");
  const absl::Status outer = BelowField("identity", inner);
  EXPECT_EQ(outer.message(), "identity.account_id: must not be empty");
  EXPECT_EQ(GetFieldViolations(outer)[0].field, "identity.account_id");
}

TEST(StatusTest, BelowFieldNamesAFieldThatHadNoName) {
  const absl::Status inner = InvalidField("", "not JSON");
  EXPECT_EQ(inner.message(), "not JSON");
  EXPECT_EQ(BelowField("text", inner).message(), "text: not JSON");
}

TEST(StatusTest, BelowFieldLeavesOtherErrorsAlone) {
  const absl::Status status = absl::NotFoundError("no such connection");
  EXPECT_EQ(BelowField("identity", status), status);
  EXPECT_TRUE(BelowField("identity", absl::OkStatus()).ok());
}

TEST(StatusTest, ReasonHasMetadata) {
  const absl::Status status =
      WithReason(absl::FailedPreconditionError("revoked"), "CREDENTIAL_REVOKED",
                 {{"epoch", "7"}, {"empty", ""}});
  const ErrorReason reason = GetErrorReason(status);
  EXPECT_EQ(reason.reason, "CREDENTIAL_REVOKED");
  EXPECT_THAT(reason.metadata,
              ElementsAre(Pair("epoch", "7"), Pair("empty", "")));
}

TEST(StatusTest, ReasonAndFieldLiveTogether) {
  const absl::Status status = WithReason(InvalidField("f", "bad"), "BAD_FIELD");
  EXPECT_EQ(GetErrorReason(status).reason, "BAD_FIELD");
  EXPECT_THAT(GetFieldViolations(status), SizeIs(1));
}

// Enable with the fix of BelowField, which makes the error anew.
TEST(StatusTest, BelowFieldKeepsTheReason) {
  const absl::Status status =
      BelowField("outer", WithReason(InvalidField("f", "bad"), "BAD_FIELD"));
  EXPECT_EQ(GetErrorReason(status).reason, "BAD_FIELD");
}

TEST(StatusTest, PlainErrorsHaveNoDetails) {
  EXPECT_THAT(GetFieldViolations(absl::InternalError("x")), IsEmpty());
  EXPECT_EQ(GetErrorReason(absl::InternalError("x")).reason, "");
}

absl::StatusOr<std::unique_ptr<int>> Make(int value) {
  if (value < 0) return absl::OutOfRangeError("negative");
  return std::make_unique<int>(value);
}

absl::StatusOr<int> AddOne(int value, int* reached) {
  BROKER_ASSIGN_OR_RETURN(const std::unique_ptr<int> made, Make(value));
  *reached = 1;
  BROKER_RETURN_IF_ERROR(*made > 10 ? absl::InternalError("big")
                                    : absl::OkStatus());
  *reached = 2;
  return *made + 1;
}

TEST(StatusMacrosTest, GoOnWhenOk) {
  int reached = 0;
  EXPECT_EQ(AddOne(4, &reached).value(), 5);
  EXPECT_EQ(reached, 2);
}

TEST(StatusMacrosTest, ReturnTheFirstError) {
  int reached = 0;
  EXPECT_EQ(AddOne(-1, &reached).status(), absl::OutOfRangeError("negative"));
  EXPECT_EQ(reached, 0);
  EXPECT_EQ(AddOne(11, &reached).status(), absl::InternalError("big"));
  EXPECT_EQ(reached, 1);
}

}  // namespace
}  // namespace broker
