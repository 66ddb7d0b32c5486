// What the tests of filters share: short ways to write trees and connections.

#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "broker/core/identity.h"
#include "broker/core/status.h"
#include "socketbroker/v1/filter.pb.h"

namespace broker::filter_testing {

using socketbroker::v1::FilterComparison;
using socketbroker::v1::FilterExpr;

inline FilterExpr Compare(const std::string& field,
                          FilterComparison::Operator op,
                          const std::string& value) {
  FilterExpr expr;
  expr.mutable_comparison()->set_field(field);
  expr.mutable_comparison()->set_op(op);
  expr.mutable_comparison()->set_value(value);
  return expr;
}

inline FilterExpr Eq(const std::string& field, const std::string& value) {
  return Compare(field, FilterComparison::OPERATOR_EQ, value);
}

inline FilterExpr Member(const std::string& field,
                         const std::vector<std::string>& values) {
  FilterExpr expr;
  expr.mutable_member()->set_field(field);
  for (const std::string& value : values) {
    expr.mutable_member()->add_values(value);
  }
  return expr;
}

inline FilterExpr Present(const std::string& field) {
  FilterExpr expr;
  expr.mutable_present()->set_field(field);
  return expr;
}

inline FilterExpr Not(FilterExpr inner) {
  FilterExpr expr;
  *expr.mutable_negation() = std::move(inner);
  return expr;
}

inline FilterExpr AllOf(std::vector<FilterExpr> parts) {
  FilterExpr expr;
  expr.mutable_all_of();
  for (FilterExpr& part : parts) {
    *expr.mutable_all_of()->add_exprs() = std::move(part);
  }
  return expr;
}

inline FilterExpr AnyOf(std::vector<FilterExpr> parts) {
  FilterExpr expr;
  expr.mutable_any_of();
  for (FilterExpr& part : parts) {
    *expr.mutable_any_of()->add_exprs() = std::move(part);
  }
  return expr;
}

// `levels` levels: negations around one comparison.
inline FilterExpr Deep(int levels) {
  FilterExpr expr = Eq("account_id", "a1");
  for (int i = 1; i < levels; ++i) {
    FilterExpr outer;
    outer.mutable_negation()->Swap(&expr);
    expr.Swap(&outer);
  }
  return expr;
}

// The field violation of an INVALID_ARGUMENT; empty for any other status.
inline FieldViolation Violation(const absl::Status& status) {
  const auto violations = GetFieldViolations(status);
  if (!absl::IsInvalidArgument(status) || violations.size() != 1) return {};
  return violations.front();
}

inline constexpr char kId[] = "018f3a1c-7b2e-7c11-9a52-3f1f6f0b2a00";
inline constexpr char kOtherId[] = "018f3a1c-7b2e-7c11-9a52-3f1f6f0b2a01";

// Pending: it has no identity.
inline ConnectionInfo Unbound() {
  ConnectionInfo c;
  c.id = *ConnectionId::Parse(kId);
  c.ns = "default";
  c.endpoint = "/ws";
  c.remote_address = "192.0.2.7";
  c.connect_time = absl::FromUnixMicros(1'795'600'800'000'001);
  return c;
}

inline ConnectionInfo Bound(const IdentityFields& identity) {
  ConnectionInfo c = Unbound();
  c.state = ConnectionState::kAdmitted;
  c.identity = Identity::Make(identity);
  return c;
}

// A session of a1 in two groups and with two labels.
inline ConnectionInfo Session() {
  IdentityFields identity;
  identity.account_id = "a1";
  identity.token_hash = "hash";
  identity.labels = {{"empty", ""}, {"region", "eu-west"}};
  identity.groups = {"beta", "staff"};
  return Bound(identity);
}

// The same connections of an API token and of a daemon, without the rest.
inline ConnectionInfo Token() {
  IdentityFields identity;
  identity.account_id = "a1";
  identity.api_token_id = "t1";
  return Bound(identity);
}

inline ConnectionInfo Daemon() {
  IdentityFields identity;
  identity.account_id = "a1";
  return Bound(identity);
}

}  // namespace broker::filter_testing
