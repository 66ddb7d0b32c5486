// ParseFilter: a filter as AIP-160 text to FilterExpr. The language is
// described in broker/docs/filters.md.
//
// Thread-safe: a pure function.

#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "socketbroker/v1/filter.pb.h"

namespace broker {

// What it returns, CompileFilter compiles: fields, operators, values and limits
// are checked here too, so that errors can say where in the text. They are
// INVALID_ARGUMENT for the field "filter": "at character N: ...", from 1.
absl::StatusOr<socketbroker::v1::FilterExpr> ParseFilter(
    absl::string_view text);

}  // namespace broker
