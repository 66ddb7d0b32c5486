// CompileFilter: FilterExpr, which anybody may have sent, to Predicate.
//
// Thread-safe: a pure function.

#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "broker/filter/predicate.h"
#include "socketbroker/v1/filter.pb.h"

namespace broker {

// INVALID_ARGUMENT names the place as a path that starts with `root`, such as
// "filter_expr.all_of.exprs[1].comparison.field". The work is bounded by the
// limits, whatever the tree.
absl::StatusOr<PredicatePtr> CompileFilter(
    const socketbroker::v1::FilterExpr& expr,
    absl::string_view root = "filter_expr");

}  // namespace broker
