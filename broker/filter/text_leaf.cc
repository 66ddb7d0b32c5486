#include "broker/filter/text_leaf.h"

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/filter/term.h"

namespace broker {
namespace {

using socketbroker::v1::FilterComparison;
using socketbroker::v1::FilterExpr;
using socketbroker::v1::FilterMember;
using socketbroker::v1::FilterPresent;

FilterComparison::Operator PlainOperator(absl::string_view op) {
  return op == "!="   ? FilterComparison::OPERATOR_NE
         : op == "<"  ? FilterComparison::OPERATOR_LT
         : op == "<=" ? FilterComparison::OPERATOR_LE
         : op == ">"  ? FilterComparison::OPERATOR_GT
         : op == ">=" ? FilterComparison::OPERATOR_GE
                      : FilterComparison::OPERATOR_EQ;
}

bool IsLoneStar(const TextToken& value) {
  return value.text == "*" && !value.stars.empty();
}

// Compiles the leaf, for its errors only. `values` are the offsets of the
// tokens that its values came from.
template <typename Message>
absl::Status CheckLeaf(const TextLexer& lexer, const Message& leaf,
                       size_t field, size_t op,
                       const std::vector<size_t>& values) {
  absl::Status status = Term::Compile(leaf).status();
  if (status.ok()) return status;
  const FieldViolation violation = GetFieldViolations(status).front();
  // "value" or "values[3]", unless it is one of the two below.
  absl::string_view place = violation.field;
  size_t index = 0;
  if (absl::ConsumePrefix(&place, "values[") &&
      absl::ConsumeSuffix(&place, "]")) {
    (void)absl::SimpleAtoi(place, &index);
  }
  const size_t offset = violation.field == "field" ? field
                        : violation.field == "op"  ? op
                                                   : values.at(index);
  return lexer.Error(offset, violation.description);
}

// Removes the stars at the ends of the value: EQ, PREFIX, SUFFIX or CONTAINS.
absl::StatusOr<FilterComparison::Operator> TakeWildcards(const TextLexer& lexer,
                                                         TextToken* value) {
  const std::vector<size_t>& stars = value->stars;
  if (stars.empty()) return FilterComparison::OPERATOR_EQ;
  if (IsLoneStar(*value)) {
    return lexer.Error(value->offset,
                       "to ask whether the field is there, write field:*");
  }
  const bool front = stars.front() == 0;
  const bool back = stars.back() == value->text.size() - 1;
  if (stars.size() != size_t{front} + size_t{back}) {
    return lexer.Error(value->offset,
                       "a wildcard may only be first, last or both; a star "
                       "itself is written \"\\*\"");
  }
  if (back) value->text.pop_back();
  if (front) value->text.erase(0, 1);
  return front && back ? FilterComparison::OPERATOR_CONTAINS
         : front       ? FilterComparison::OPERATOR_SUFFIX
                       : FilterComparison::OPERATOR_PREFIX;
}

// `field:*` and `labels:key`.
absl::StatusOr<FilterExpr> MakePresent(const TextLexer& lexer,
                                       const TextToken& field,
                                       const TextToken& op,
                                       const TextToken& value) {
  FilterExpr expr;
  FilterPresent* present = expr.mutable_present();
  if (field.text == "labels" && value.stars.empty()) {
    present->set_field(absl::StrCat("labels.", value.text));
    BROKER_RETURN_IF_ERROR(CheckLeaf(lexer, *present, value.offset, 0, {}));
    return expr;
  }
  present->set_field(field.text);
  BROKER_RETURN_IF_ERROR(CheckLeaf(lexer, *present, field.offset, 0, {}));
  if (!IsLoneStar(value)) {
    return lexer.Error(op.offset,
                       "\":\" goes with groups:value, labels:key and field:* "
                       "only; to compare, write =");
  }
  return expr;
}

}  // namespace

absl::StatusOr<FilterExpr> MakeComparison(const TextLexer& lexer,
                                          const TextToken& field,
                                          const TextToken& op,
                                          TextToken value) {
  const bool has = op.text == ":";
  if (has && (field.text != "groups" || IsLoneStar(value))) {
    return MakePresent(lexer, field, op, value);
  }
  FilterExpr expr;
  FilterComparison* comparison = expr.mutable_comparison();
  comparison->set_field(field.text);
  comparison->set_op(PlainOperator(op.text));
  if (has || op.text == "=") {
    BROKER_ASSIGN_OR_RETURN(FilterComparison::Operator with_wildcards,
                            TakeWildcards(lexer, &value));
    comparison->set_op(with_wildcards);
  } else if (!value.stars.empty()) {
    return lexer.Error(
        value.offset,
        absl::StrCat("no wildcard goes with ", op.text,
                     op.text == "!=" ? "; write NOT field = \"...*\"" : "",
                     "; a star itself is written \"\\*\""));
  }
  comparison->set_value(value.text);
  BROKER_RETURN_IF_ERROR(
      CheckLeaf(lexer, *comparison, field.offset, op.offset, {value.offset}));
  return expr;
}

absl::StatusOr<FilterExpr> MakeMember(const TextLexer& lexer,
                                      const TextToken& field,
                                      const TextToken& in,
                                      std::vector<TextToken> values) {
  FilterExpr expr;
  FilterMember* member = expr.mutable_member();
  member->set_field(field.text);
  std::vector<size_t> offsets;
  for (TextToken& value : values) {
    if (!value.stars.empty()) {
      return lexer.Error(value.offset,
                         "no wildcard goes with IN; a star itself is written "
                         "\"\\*\"");
    }
    offsets.push_back(value.offset);
    member->add_values(std::move(value.text));
  }
  BROKER_RETURN_IF_ERROR(
      CheckLeaf(lexer, *member, field.offset, in.offset, offsets));
  return expr;
}

}  // namespace broker
