// Predicate: a compiled filter. Compiled once, asked about many connections.
//
// Immutable, thread-safe, and shared by the shards.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "broker/core/identity.h"
#include "broker/filter/pin.h"
#include "broker/filter/term.h"
#include "socketbroker/v1/filter.pb.h"

namespace broker {

// The tree in preorder: a node's children follow it, up to `end`.
struct PredicateNode {
  enum class Kind { kAllOf, kAnyOf, kNegation, kTerm };
  Kind kind;
  uint32_t term = 0;  // kTerm: index into the terms
  uint32_t end = 0;   // one past the node's last descendant
};

class Predicate {
 public:
  // Matches every connection.
  static std::shared_ptr<const Predicate> All();

  // Matches what both match; a null one matches everything.
  static std::shared_ptr<const Predicate> Both(
      std::shared_ptr<const Predicate> a, std::shared_ptr<const Predicate> b);

  // Matches what that one does not. It is not All().
  static std::shared_ptr<const Predicate> Not(const Predicate& excluded);

  // For CompileFilter, which alone knows that the parts belong together.
  Predicate(socketbroker::v1::FilterExpr expr, std::vector<PredicateNode> nodes,
            std::vector<Term> terms, std::vector<Pin> pins);

  // The hot path: it allocates nothing, and recurses kMaxDepth deep at most,
  // and once more for each Both and Not.
  bool Matches(const ConnectionInfo& c) const {
    return matches_all() || MatchesNode(0, c);
  }
  bool matches_all() const { return nodes_.empty(); }

  // Each is a necessary condition on its own, so the planner may take the
  // cheapest. Empty: no index helps. All of them together have no more terms
  // than the filter has values.
  absl::Span<const Pin> pins() const { return pins_; }

  // The tree it came from; without a kind for All().
  const socketbroker::v1::FilterExpr& expr() const { return expr_; }
  // The same for the same tree, and only for it: 32 hexadecimal digits.
  const std::string& fingerprint() const { return fingerprint_; }

  // A fence that used these could not match any later connection.
  bool uses_connection_id() const { return Uses(Field::kConnectionId); }
  bool uses_connect_time() const { return Uses(Field::kConnectTime); }
  // Whether it says anything that an identity alone does not settle.
  bool uses_more_than_identity() const {
    return uses_connection_id() || uses_connect_time() ||
           Uses(Field::kEndpoint) || Uses(Field::kRemoteAddress);
  }

 private:
  bool MatchesNode(uint32_t index, const ConnectionInfo& c) const;
  bool Uses(Field field) const;

  const socketbroker::v1::FilterExpr expr_;
  const std::string fingerprint_;
  const std::vector<PredicateNode> nodes_;
  const std::vector<Term> terms_;
  const std::vector<Pin> pins_;
};

using PredicatePtr = std::shared_ptr<const Predicate>;

}  // namespace broker
