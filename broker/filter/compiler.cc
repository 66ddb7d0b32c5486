#include "broker/filter/compiler.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/filter/limits.h"
#include "google/protobuf/message.h"
#include "google/protobuf/unknown_field_set.h"

namespace broker {
namespace {

using socketbroker::v1::FilterExpr;
using socketbroker::v1::FilterList;
using Kind = PredicateNode::Kind;

// What one of several alternatives pins: something only if each of them does.
std::vector<Pin> UnionOfSmallest(const std::vector<std::vector<Pin>>& parts) {
  Pin all;
  for (const std::vector<Pin>& pins : parts) {
    const auto smallest = std::min_element(
        pins.begin(), pins.end(),
        [](const Pin& a, const Pin& b) { return a.size() < b.size(); });
    if (smallest == pins.end()) return {};
    all.insert(all.end(), smallest->begin(), smallest->end());
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return {std::move(all)};
}

class Compiler {
 public:
  explicit Compiler(absl::string_view root) : place_(root) {}

  absl::StatusOr<PredicatePtr> Compile(const FilterExpr& expr) {
    const std::string root = place_;
    BROKER_ASSIGN_OR_RETURN(std::vector<Pin> pins, AddExpr(expr, 1));
    // Last, since it recurses and only now is the depth known.
    if (const size_t bytes = expr.ByteSizeLong(); bytes > kMaxBytes) {
      return InvalidField(
          root,
          absl::StrCat("takes ", bytes, " bytes, the limit is ", kMaxBytes));
    }
    return std::make_shared<const Predicate>(
        expr, std::move(nodes_), std::move(terms_), std::move(pins));
  }

 private:
  // Appends the expression to the program; its pins. `place_` is its path.
  absl::StatusOr<std::vector<Pin>> AddExpr(const FilterExpr& expr, int depth) {
    if (depth > kMaxDepth) {
      return InvalidField(place_,
                          absl::StrCat("is at level ", depth, ", the limit is ",
                                       kMaxDepth, " levels"));
    }
    if (nodes_.size() == kMaxNodes) {
      return InvalidField(place_, absl::StrCat("is node ", kMaxNodes + 1,
                                               ", the limit is ", kMaxNodes));
    }
    BROKER_RETURN_IF_ERROR(CheckKnown(expr));
    switch (expr.kind_case()) {
      case FilterExpr::kAllOf:
        return AddList(Kind::kAllOf, expr.all_of(), ".all_of", depth);
      case FilterExpr::kAnyOf:
        return AddList(Kind::kAnyOf, expr.any_of(), ".any_of", depth);
      case FilterExpr::kNegation:
        return AddNegation(expr.negation(), depth);
      case FilterExpr::kComparison:
        return AddTerm(expr.comparison(), ".comparison");
      case FilterExpr::kMember:
        return AddMember(expr.member());
      case FilterExpr::kPresent:
        return AddTerm(expr.present(), ".present");
      case FilterExpr::KIND_NOT_SET:
        break;
    }
    return InvalidField(place_,
                        "is empty; must have one of all_of, any_of, negation, "
                        "comparison, member, present");
  }

  absl::StatusOr<std::vector<Pin>> AddList(Kind kind, const FilterList& list,
                                           absl::string_view name, int depth) {
    const size_t parent = place_.size();
    absl::StrAppend(&place_, name);
    BROKER_RETURN_IF_ERROR(CheckKnown(list));
    place_ += ".exprs";
    if (list.exprs().empty()) {
      return InvalidField(place_, "must have one part or more, has none");
    }
    const size_t index = AddNode(kind);
    const size_t here = place_.size();
    std::vector<std::vector<Pin>> parts;
    for (int i = 0; i < list.exprs_size(); ++i) {
      absl::StrAppend(&place_, "[", i, "]");
      BROKER_ASSIGN_OR_RETURN(std::vector<Pin> pins,
                              AddExpr(list.exprs(i), depth + 1));
      parts.push_back(std::move(pins));
      place_.resize(here);
    }
    place_.resize(parent);
    EndNode(index);
    if (kind == Kind::kAnyOf) return UnionOfSmallest(parts);
    std::vector<Pin> all;
    for (std::vector<Pin>& pins : parts) {
      std::move(pins.begin(), pins.end(), std::back_inserter(all));
    }
    return all;
  }

  // What the inner expression pins, matches may lack: no pins.
  absl::StatusOr<std::vector<Pin>> AddNegation(const FilterExpr& inner,
                                               int depth) {
    const size_t index = AddNode(Kind::kNegation);
    const size_t parent = place_.size();
    place_ += ".negation";
    BROKER_RETURN_IF_ERROR(AddExpr(inner, depth + 1).status());
    place_.resize(parent);
    EndNode(index);
    return std::vector<Pin>();
  }

  absl::StatusOr<std::vector<Pin>> AddMember(
      const socketbroker::v1::FilterMember& member) {
    // Before the set is built. The sum cannot overflow: it stays below the
    // limit plus one message.
    members_ += member.values_size();
    if (members_ > kMaxSetMembers) {
      return InvalidField(
          place_ + ".member.values",
          absl::StrCat("brings the filter to ", members_,
                       " set members, the limit is ", kMaxSetMembers));
    }
    return AddTerm(member, ".member");
  }

  template <typename Message>
  absl::StatusOr<std::vector<Pin>> AddTerm(const Message& message,
                                           absl::string_view name) {
    const size_t parent = place_.size();
    absl::StrAppend(&place_, name);
    BROKER_RETURN_IF_ERROR(CheckKnown(message));
    absl::StatusOr<Term> term = Term::Compile(message);
    if (!term.ok()) return BelowField(place_, term.status());
    place_.resize(parent);

    const size_t index = AddNode(Kind::kTerm);
    nodes_[index].term = static_cast<uint32_t>(terms_.size());
    EndNode(index);
    Pin pin = term->MakePin();
    terms_.push_back(*std::move(term));
    if (pin.empty()) return std::vector<Pin>();
    return std::vector<Pin>{std::move(pin)};
  }

  // A field of a newer version may narrow the filter; to ignore it would be to
  // close or to reach more connections than the caller meant.
  absl::Status CheckKnown(const google::protobuf::Message& message) const {
    const auto& unknown = message.GetReflection()->GetUnknownFields(message);
    if (unknown.empty()) return absl::OkStatus();
    return InvalidField(
        place_, absl::StrCat("has field number ", unknown.field(0).number(),
                             ", which this broker does not know"));
  }

  size_t AddNode(Kind kind) {
    nodes_.push_back({kind});
    return nodes_.size() - 1;
  }
  void EndNode(size_t index) {
    nodes_[index].end = static_cast<uint32_t>(nodes_.size());
  }

  std::string place_;
  std::vector<PredicateNode> nodes_;
  std::vector<Term> terms_;
  int64_t members_ = 0;
};

}  // namespace

absl::StatusOr<PredicatePtr> CompileFilter(const FilterExpr& expr,
                                           absl::string_view root) {
  return Compiler(root).Compile(expr);
}

}  // namespace broker
