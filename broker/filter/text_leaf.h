// The leaves of a filter's text: tokens to a FilterExpr, wildcards and `:`
// included. Part of ParseFilter.
//
// Thread-safe: pure functions. Errors point at the token that is wrong.

#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "broker/filter/text_lexer.h"
#include "socketbroker/v1/filter.pb.h"

namespace broker {

// `field op value`, also where it asks for presence: `field:*`, `labels:key`.
absl::StatusOr<socketbroker::v1::FilterExpr> MakeComparison(
    const TextLexer& lexer, const TextToken& field, const TextToken& op,
    TextToken value);

// `field IN (values)`, an extension: AIP-160 has no sets.
absl::StatusOr<socketbroker::v1::FilterExpr> MakeMember(
    const TextLexer& lexer, const TextToken& field, const TextToken& in,
    std::vector<TextToken> values);

}  // namespace broker
