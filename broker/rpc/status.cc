#include "broker/rpc/status.h"

#include "broker/core/status.h"
#include "google/rpc/error_details.pb.h"

namespace broker {
namespace {

constexpr char kDomain[] = "socketbroker";

// The numbers are the same by definition; a code outside of them is a bug.
grpc::StatusCode Code(absl::StatusCode code) {
  const int number = static_cast<int>(code);
  return number >= 0 && number <= 16 ? static_cast<grpc::StatusCode>(number)
                                     : grpc::StatusCode::INTERNAL;
}

}  // namespace

google::rpc::Status ToStatusProto(const absl::Status& status) {
  google::rpc::Status details;
  if (status.ok()) return details;
  details.set_code(static_cast<int>(Code(status.code())));
  details.set_message(std::string(status.message()));

  const std::vector<FieldViolation> violations = GetFieldViolations(status);
  ErrorReason reason = GetErrorReason(status);
  if (reason.reason.empty() && !violations.empty()) {
    reason.reason = "INVALID_FIELD";
  }
  if (!reason.reason.empty()) {
    google::rpc::ErrorInfo info;
    info.set_reason(reason.reason);
    info.set_domain(kDomain);
    info.mutable_metadata()->insert(reason.metadata.begin(),
                                    reason.metadata.end());
    details.add_details()->PackFrom(info);
  }
  if (!violations.empty()) {
    google::rpc::BadRequest bad;
    for (const FieldViolation& v : violations) {
      auto* out = bad.add_field_violations();
      out->set_field(v.field);
      out->set_description(v.description);
    }
    details.add_details()->PackFrom(bad);
  }
  return details;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status details = ToStatusProto(status);
  return grpc::Status(static_cast<grpc::StatusCode>(details.code()),
                      details.message(), details.SerializeAsString());
}

}  // namespace broker
