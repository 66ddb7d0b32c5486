#include "broker/rpc/status.h"

#include "broker/core/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

google::rpc::Status Details(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

TEST(GrpcStatusTest, KeepsEveryCode) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  for (int code = 1; code <= 16; ++code) {
    const grpc::Status status =
        ToGrpcStatus(absl::Status(static_cast<absl::StatusCode>(code), "why"));
    EXPECT_EQ(static_cast<int>(status.error_code()), code);
    EXPECT_EQ(status.error_message(), "why");
    EXPECT_EQ(Details(status).code(), code);
  }
}

TEST(GrpcStatusTest, CarriesReasonAndField) {
  const absl::Status status =
      WithReason(InvalidField("ttl", "2m: at most 1m"), "BAD", {{"k", "v"}});
  const google::rpc::Status details = Details(ToGrpcStatus(status));
  ASSERT_EQ(details.details_size(), 2);
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "BAD");
  EXPECT_EQ(info.domain(), "socketbroker");
  EXPECT_EQ(info.metadata().at("k"), "v");
  google::rpc::BadRequest bad;
  ASSERT_TRUE(details.details(1).UnpackTo(&bad));
  EXPECT_EQ(bad.field_violations(0).field(), "ttl");
  EXPECT_EQ(bad.field_violations(0).description(), "2m: at most 1m");
}

}  // namespace
}  // namespace broker
