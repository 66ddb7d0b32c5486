// Any bytes as a FilterExpr: refused with a place, or compiled to a predicate
// whose text form answers the same.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "broker/core/identity.h"
#include "broker/core/status.h"
#include "broker/filter/compiler.h"
#include "broker/filter/limits.h"
#include "broker/filter/text_parser.h"
#include "broker/filter/text_writer.h"
#include "google/protobuf/stubs/logging.h"
#include "socketbroker/v1/filter.pb.h"
#include "tests/fuzz/check.h"

namespace {

using broker::fuzz::Check;

broker::ConnectionInfo Bound() {
  broker::IdentityFields identity;
  identity.account_id = "a";
  identity.token_hash = "b";
  identity.labels = {{"x", ""}, {"y", "ab"}};
  identity.groups = {"a", "ab"};
  broker::ConnectionInfo c;
  c.endpoint = "/ws";
  c.remote_address = "::1";
  c.identity = broker::Identity::Make(identity);
  return c;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // protobuf reports every string that is not UTF-8 on stderr.
  static const google::protobuf::LogSilencer kSilencer;
  static const broker::ConnectionInfo kBound = Bound();
  static const broker::ConnectionInfo kUnbound;
  socketbroker::v1::FilterExpr expr;
  if (!expr.ParseFromArray(data, static_cast<int>(size))) return 0;

  const std::string written = broker::FilterToText(expr);
  const auto predicate = broker::CompileFilter(expr, "root");
  if (!predicate.ok()) {
    const auto violations = broker::GetFieldViolations(predicate.status());
    Check(absl::IsInvalidArgument(predicate.status()), "INVALID_ARGUMENT");
    Check(violations.size() == 1, "one violation");
    Check(absl::StartsWith(violations[0].field, "root"), "the place");
    return 0;
  }
  const bool matches_bound = (*predicate)->Matches(kBound);
  const bool matches_unbound = (*predicate)->Matches(kUnbound);
  if (written.size() > broker::kMaxBytes) return 0;
  const auto parsed = broker::ParseFilter(written);
  Check(parsed.ok(), "what is written parses");
  const auto again = broker::CompileFilter(*parsed);
  Check(again.ok(), "what is written compiles");
  Check((*again)->Matches(kBound) == matches_bound, "the same for a bound one");
  Check((*again)->Matches(kUnbound) == matches_unbound,
        "the same for an unbound one");
  return 0;
}
