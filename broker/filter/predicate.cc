#include "broker/filter/predicate.h"

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "broker/core/secret.h"

namespace broker {
namespace {

using socketbroker::v1::FilterExpr;

// Without maps and unknown fields, protobuf writes the same tree one way only.
std::string Fingerprint(const FilterExpr& expr) {
  constexpr size_t kBytes = 16;
  const Sha256Digest digest = Sha256(expr.SerializeAsString());
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), kBytes));
}

}  // namespace

std::shared_ptr<const Predicate> Predicate::All() {
  static const auto* const kAll = new std::shared_ptr<const Predicate>(
      std::make_shared<Predicate>(FilterExpr(), std::vector<PredicateNode>(),
                                  std::vector<Term>(), std::vector<Pin>()));
  return *kAll;
}

std::shared_ptr<const Predicate> Predicate::Both(
    std::shared_ptr<const Predicate> a, std::shared_ptr<const Predicate> b) {
  if (a == nullptr || a->matches_all()) return b == nullptr ? All() : b;
  if (b == nullptr || b->matches_all()) return a;
  FilterExpr expr;
  *expr.mutable_all_of()->add_exprs() = a->expr_;
  *expr.mutable_all_of()->add_exprs() = b->expr_;
  std::vector<PredicateNode> nodes = {{PredicateNode::Kind::kAllOf}};
  std::vector<Term> terms;
  std::vector<Pin> pins;
  for (const Predicate* part : {a.get(), b.get()}) {
    const auto shift = static_cast<uint32_t>(nodes.size());
    for (PredicateNode node : part->nodes_) {
      node.end += shift;
      node.term += static_cast<uint32_t>(terms.size());
      nodes.push_back(node);
    }
    terms.insert(terms.end(), part->terms_.begin(), part->terms_.end());
    pins.insert(pins.end(), part->pins_.begin(), part->pins_.end());
  }
  nodes.front().end = static_cast<uint32_t>(nodes.size());
  return std::make_shared<Predicate>(std::move(expr), std::move(nodes),
                                     std::move(terms), std::move(pins));
}

std::shared_ptr<const Predicate> Predicate::Not(const Predicate& excluded) {
  FilterExpr expr;
  *expr.mutable_negation() = excluded.expr_;
  const auto end = static_cast<uint32_t>(excluded.nodes_.size() + 1);
  std::vector<PredicateNode> nodes = {
      {PredicateNode::Kind::kNegation, /*term=*/0, end}};
  for (PredicateNode node : excluded.nodes_) {
    ++node.end;
    nodes.push_back(node);
  }
  return std::make_shared<Predicate>(std::move(expr), std::move(nodes),
                                     excluded.terms_, std::vector<Pin>());
}

Predicate::Predicate(FilterExpr expr, std::vector<PredicateNode> nodes,
                     std::vector<Term> terms, std::vector<Pin> pins)
    : expr_(std::move(expr)),
      fingerprint_(Fingerprint(expr_)),
      nodes_(std::move(nodes)),
      terms_(std::move(terms)),
      pins_(std::move(pins)) {}

bool Predicate::MatchesNode(uint32_t index, const ConnectionInfo& c) const {
  const PredicateNode& node = nodes_[index];
  switch (node.kind) {
    case PredicateNode::Kind::kTerm:
      return terms_[node.term].Matches(c);
    case PredicateNode::Kind::kNegation:
      return !MatchesNode(index + 1, c);
    case PredicateNode::Kind::kAllOf:
    case PredicateNode::Kind::kAnyOf:
      break;
  }
  // The first child that decides, decides.
  const bool decisive = node.kind == PredicateNode::Kind::kAnyOf;
  for (uint32_t i = index + 1; i < node.end; i = nodes_[i].end) {
    if (MatchesNode(i, c) == decisive) return decisive;
  }
  return !decisive;
}

bool Predicate::Uses(Field field) const {
  return std::any_of(terms_.begin(), terms_.end(),
                     [field](const Term& t) { return t.field() == field; });
}

}  // namespace broker
