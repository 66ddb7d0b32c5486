#include "broker/filter/text_writer.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "broker/filter/limits.h"

namespace broker {
namespace {

using socketbroker::v1::FilterComparison;
using socketbroker::v1::FilterExpr;
using socketbroker::v1::FilterList;
using socketbroker::v1::FilterMember;

std::string Escaped(absl::string_view value) {
  std::string out;
  for (const char c : value) {
    if (absl::ascii_iscntrl(c)) {
      absl::StrAppend(&out, "\\x",
                      absl::BytesToHexString(absl::string_view(&c, 1)));
      continue;
    }
    if (c == '"' || c == '\\' || c == '*') out += '\\';
    out += c;
  }
  return out;
}

void Append(const FilterComparison& comparison, std::string* out) {
  absl::string_view op = comparison.field() == "groups" ? ":" : " = ";
  absl::string_view before = "";
  absl::string_view after = "";
  switch (comparison.op()) {
    case FilterComparison::OPERATOR_NE:
      op = " != ";
      break;
    case FilterComparison::OPERATOR_LT:
      op = " < ";
      break;
    case FilterComparison::OPERATOR_LE:
      op = " <= ";
      break;
    case FilterComparison::OPERATOR_GT:
      op = " > ";
      break;
    case FilterComparison::OPERATOR_GE:
      op = " >= ";
      break;
    case FilterComparison::OPERATOR_PREFIX:
      after = "*";
      break;
    case FilterComparison::OPERATOR_SUFFIX:
      before = "*";
      break;
    case FilterComparison::OPERATOR_CONTAINS:
      before = after = "*";
      break;
    default:
      break;
  }
  absl::StrAppend(out, comparison.field(), op, "\"", before,
                  Escaped(comparison.value()), after, "\"");
}

void Append(const FilterMember& member, std::string* out) {
  absl::StrAppend(out, member.field(), " IN (");
  absl::string_view separator = "";
  for (const std::string& value : member.values()) {
    absl::StrAppend(out, separator, "\"", Escaped(value), "\"");
    separator = ", ";
  }
  *out += ')';
}

void Append(const FilterExpr& expr, bool nested, int depth, std::string* out);

void Append(const FilterList& list, absl::string_view joint, bool nested,
            int depth, std::string* out) {
  // A list of one is its part; the text has no other way to say it.
  const bool one = list.exprs_size() == 1;
  if (nested && !one) *out += '(';
  absl::string_view separator = "";
  for (const FilterExpr& part : list.exprs()) {
    absl::StrAppend(out, separator);
    Append(part, nested || !one, depth + 1, out);
    separator = joint;
  }
  if (nested && !one) *out += ')';
}

// `nested`: a list needs parentheses here.
void Append(const FilterExpr& expr, bool nested, int depth, std::string* out) {
  // No tree that compiles is that deep; a deeper one must not end the process.
  if (depth > kMaxDepth) {
    *out += "...";
    return;
  }
  switch (expr.kind_case()) {
    case FilterExpr::kAllOf:
      return Append(expr.all_of(), " AND ", nested, depth, out);
    case FilterExpr::kAnyOf:
      return Append(expr.any_of(), " OR ", nested, depth, out);
    case FilterExpr::kNegation:
      *out += "NOT ";
      return Append(expr.negation(), true, depth + 1, out);
    case FilterExpr::kComparison:
      return Append(expr.comparison(), out);
    case FilterExpr::kMember:
      return Append(expr.member(), out);
    case FilterExpr::kPresent:
      absl::StrAppend(out, expr.present().field(), ":*");
      return;
    case FilterExpr::KIND_NOT_SET:
      return;
  }
}

}  // namespace

std::string FilterToText(const FilterExpr& expr) {
  std::string text;
  Append(expr, false, 1, &text);
  return text;
}

}  // namespace broker
