#include "broker/filter/text_parser.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "broker/core/quoted.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/filter/fields.h"
#include "broker/filter/limits.h"
#include "broker/filter/text_leaf.h"
#include "broker/filter/text_lexer.h"

namespace broker {
namespace {

using socketbroker::v1::FilterExpr;
using Expect = TextLexer::Expect;
using Kind = TextToken::Kind;

constexpr char kWriteAndOr[] =
    "expected AND, OR or the end; to combine two parts write AND between them, "
    "and a value with blanks needs quotes";

bool IsKeyword(const TextToken& token) {
  return token.Is("AND") || token.Is("OR") || token.Is("NOT");
}

// One of the keywords in other than capitals.
bool IsAlmost(const TextToken& token, absl::string_view keyword) {
  return token.kind == Kind::kWord &&
         absl::EqualsIgnoreCase(token.text, keyword);
}

std::string Shown(const TextToken& token) {
  return token.kind == Kind::kEnd ? "the end" : Quoted(token.text);
}

// Recursive descent, one token ahead. It recurses once per parenthesis and per
// NOT, and counts them, so that no text can exhaust the stack.
class Parser {
 public:
  explicit Parser(absl::string_view text) : lexer_(text) {}

  absl::StatusOr<FilterExpr> Parse();

 private:
  struct Tree {
    FilterExpr expr;
    int levels = 0;
  };

  // The grammar:
  //   sequence    = factor {AND factor} | factor {OR factor}
  //   factor      = NOT factor | "-" simple | simple
  //   simple      = "(" sequence ")" | restriction
  //   restriction = field op value | field IN "(" value {"," value} ")"
  absl::StatusOr<Tree> Sequence();
  absl::StatusOr<Tree> Factor();
  absl::StatusOr<Tree> Minus();
  absl::StatusOr<Tree> Parenthesized();
  absl::StatusOr<Tree> Restriction();
  absl::StatusOr<Tree> In(const TextToken& field);

  absl::StatusOr<TextToken> Value();
  absl::StatusOr<Tree> Negate(size_t offset, Tree inner);
  absl::Status CheckJoint() const;
  absl::Status CountNode(size_t offset);
  absl::Status Descend(size_t offset);

  absl::Status Advance(Expect expect = Expect::kField) {
    BROKER_ASSIGN_OR_RETURN(token_, lexer_.Next(expect));
    return absl::OkStatus();
  }
  absl::Status ErrorHere(absl::string_view description) const {
    return lexer_.Error(token_.offset, description);
  }

  absl::Status InCapitals(const TextToken& keyword) const {
    return lexer_.Error(
        keyword.offset,
        absl::StrCat("write ", Quoted(keyword.text), " in capitals"));
  }

  TextLexer lexer_;
  TextToken token_;
  int nesting_ = 0;
  int nodes_ = 0;
  int members_ = 0;
};

absl::StatusOr<FilterExpr> Parser::Parse() {
  BROKER_RETURN_IF_ERROR(Advance());
  if (token_.kind == Kind::kEnd) {
    return ErrorHere("the filter is empty; to mean everybody, set match_all");
  }
  BROKER_ASSIGN_OR_RETURN(Tree tree, Sequence());
  if (token_.kind != Kind::kEnd) return ErrorHere("no \"(\" goes with this");
  if (const size_t bytes = tree.expr.ByteSizeLong(); bytes > kMaxBytes) {
    return lexer_.Error(
        0, absl::StrCat("the filter takes ", bytes,
                        " bytes as a tree, the limit is ", kMaxBytes));
  }
  return std::move(tree.expr);
}

absl::StatusOr<Parser::Tree> Parser::Sequence() {
  const size_t start = token_.offset;
  BROKER_ASSIGN_OR_RETURN(Tree first, Factor());
  BROKER_RETURN_IF_ERROR(CheckJoint());
  if (token_.kind != Kind::kWord) return first;

  const std::string joint = token_.text;
  BROKER_RETURN_IF_ERROR(CountNode(start));
  Tree tree;
  auto* exprs = joint == "AND" ? tree.expr.mutable_all_of()->mutable_exprs()
                               : tree.expr.mutable_any_of()->mutable_exprs();
  tree.levels = first.levels;
  *exprs->Add() = std::move(first.expr);
  while (token_.kind == Kind::kWord) {
    if (!token_.Is(joint)) {
      return ErrorHere(
          "AND and OR need parentheses to be mixed, as in a = 1 AND (b = 2 OR "
          "c = 3)");
    }
    BROKER_RETURN_IF_ERROR(Advance());
    BROKER_ASSIGN_OR_RETURN(Tree next, Factor());
    BROKER_RETURN_IF_ERROR(CheckJoint());
    tree.levels = std::max(tree.levels, next.levels);
    *exprs->Add() = std::move(next.expr);
  }
  if (++tree.levels > kMaxDepth) {
    return lexer_.Error(start, absl::StrCat("this has more than ", kMaxDepth,
                                            " levels, which is the limit"));
  }
  return tree;
}

// What follows a factor: AND, OR, or the end of the sequence.
absl::Status Parser::CheckJoint() const {
  if (token_.kind == Kind::kEnd || token_.kind == Kind::kClose ||
      token_.Is("AND") || token_.Is("OR")) {
    return absl::OkStatus();
  }
  if (IsAlmost(token_, "and") || IsAlmost(token_, "or")) {
    return InCapitals(token_);
  }
  return ErrorHere(
      absl::StrCat("unexpected ", Shown(token_), ": ", kWriteAndOr));
}

absl::StatusOr<Parser::Tree> Parser::Factor() {
  if (token_.kind == Kind::kWord && token_.text[0] == '-') return Minus();
  if (token_.kind == Kind::kOpen) return Parenthesized();
  if (!token_.Is("NOT")) return Restriction();

  const size_t offset = token_.offset;
  BROKER_RETURN_IF_ERROR(Descend(offset));
  BROKER_RETURN_IF_ERROR(Advance());
  BROKER_ASSIGN_OR_RETURN(Tree inner, Factor());
  --nesting_;
  return Negate(offset, std::move(inner));
}

// AIP-160's other NOT: `-field = 1`, `-(...)`, without a blank.
absl::StatusOr<Parser::Tree> Parser::Minus() {
  const size_t offset = token_.offset;
  token_.text.erase(0, 1);
  ++token_.offset;
  if (!token_.text.empty()) {
    BROKER_ASSIGN_OR_RETURN(Tree inner, Restriction());
    return Negate(offset, std::move(inner));
  }
  const size_t next = token_.offset;
  BROKER_RETURN_IF_ERROR(Advance());
  if (token_.kind != Kind::kOpen || token_.offset != next) {
    return lexer_.Error(offset,
                        "\"-\" must be followed by a field or \"(\", without a "
                        "blank; or write NOT");
  }
  BROKER_ASSIGN_OR_RETURN(Tree inner, Parenthesized());
  return Negate(offset, std::move(inner));
}

absl::StatusOr<Parser::Tree> Parser::Negate(size_t offset, Tree inner) {
  BROKER_RETURN_IF_ERROR(CountNode(offset));
  Tree tree;
  *tree.expr.mutable_negation() = std::move(inner.expr);
  tree.levels = inner.levels + 1;
  if (tree.levels > kMaxDepth) {
    return lexer_.Error(offset, absl::StrCat("this has more than ", kMaxDepth,
                                             " levels, which is the limit"));
  }
  return tree;
}

absl::StatusOr<Parser::Tree> Parser::Parenthesized() {
  const size_t open = token_.offset;
  BROKER_RETURN_IF_ERROR(Descend(open));
  BROKER_RETURN_IF_ERROR(Advance());
  BROKER_ASSIGN_OR_RETURN(Tree tree, Sequence());
  if (token_.kind != Kind::kClose) {
    return lexer_.Error(open, "no \")\" goes with this");
  }
  --nesting_;
  BROKER_RETURN_IF_ERROR(Advance());
  return tree;
}

absl::StatusOr<Parser::Tree> Parser::Restriction() {
  const TextToken field = token_;
  if (field.kind != Kind::kWord || IsKeyword(field)) {
    return ErrorHere(absl::StrCat(
        "expected a field without quotes, NOT or \"(\", found ", Shown(field)));
  }
  BROKER_RETURN_IF_ERROR(Advance());
  if (token_.Is("IN")) return In(field);
  if (token_.kind != Kind::kOperator) {
    if (IsAlmost(field, "not")) return InCapitals(field);
    if (IsAlmost(token_, "in")) return InCapitals(token_);
    return ErrorHere(absl::StrCat("expected one of = != < <= > >= : IN after ",
                                  Quoted(field.text), ", found ",
                                  Shown(token_)));
  }
  const TextToken op = token_;
  BROKER_RETURN_IF_ERROR(CountNode(field.offset));
  BROKER_RETURN_IF_ERROR(Advance(Expect::kValue));
  BROKER_ASSIGN_OR_RETURN(TextToken value, Value());
  BROKER_ASSIGN_OR_RETURN(FilterExpr leaf,
                          MakeComparison(lexer_, field, op, std::move(value)));
  return Tree{std::move(leaf), 1};
}

// The value that the current token is; the next one becomes current.
absl::StatusOr<TextToken> Parser::Value() {
  if (IsKeyword(token_)) {
    return ErrorHere(absl::StrCat("the value ", Quoted(token_.text),
                                  " is a keyword and needs quotes"));
  }
  if (token_.kind != Kind::kWord && token_.kind != Kind::kString) {
    return ErrorHere(absl::StrCat("expected a value, found ", Shown(token_)));
  }
  TextToken value = std::move(token_);
  BROKER_RETURN_IF_ERROR(Advance());
  return value;
}

absl::StatusOr<Parser::Tree> Parser::In(const TextToken& field) {
  const TextToken in = token_;
  BROKER_RETURN_IF_ERROR(CountNode(field.offset));
  BROKER_RETURN_IF_ERROR(Advance());
  if (token_.kind != Kind::kOpen) {
    return ErrorHere("expected \"(\" after IN, as in account_id IN (a1, a2)");
  }
  std::vector<TextToken> values;
  do {
    BROKER_RETURN_IF_ERROR(Advance(Expect::kValue));
    BROKER_ASSIGN_OR_RETURN(TextToken value, Value());
    if (++members_ > kMaxSetMembers) {
      return lexer_.Error(value.offset,
                          absl::StrCat("more than ", kMaxSetMembers,
                                       " set members, which is the limit"));
    }
    values.push_back(std::move(value));
  } while (token_.kind == Kind::kComma);
  if (token_.kind != Kind::kClose) {
    return ErrorHere(
        absl::StrCat("expected \",\" or \")\", found ", Shown(token_)));
  }
  BROKER_RETURN_IF_ERROR(Advance());
  BROKER_ASSIGN_OR_RETURN(FilterExpr leaf,
                          MakeMember(lexer_, field, in, std::move(values)));
  return Tree{std::move(leaf), 1};
}

absl::Status Parser::CountNode(size_t offset) {
  if (++nodes_ <= kMaxNodes) return absl::OkStatus();
  return lexer_.Error(offset, absl::StrCat("more than ", kMaxNodes,
                                           " nodes, which is the limit"));
}

absl::Status Parser::Descend(size_t offset) {
  if (++nesting_ <= kMaxDepth) return absl::OkStatus();
  return lexer_.Error(offset,
                      absl::StrCat("more than ", kMaxDepth,
                                   " levels of parentheses and NOT, which is "
                                   "the limit"));
}

}  // namespace

absl::StatusOr<FilterExpr> ParseFilter(absl::string_view text) {
  if (text.size() > kMaxBytes) {
    return InvalidField(
        "filter", absl::StrCat("at character 1: the text has ", text.size(),
                               " bytes, the limit is ", kMaxBytes));
  }
  return Parser(text).Parse();
}

}  // namespace broker
