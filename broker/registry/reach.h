// Reach: the part of the broker that a caller may see and touch: some
// namespaces, and in them what a filter matches.
//
// Immutable and thread-safe. A null pointer stands for everything.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "broker/core/identity.h"
#include "broker/filter/predicate.h"
#include "broker/registry/fence.h"

namespace broker {

struct Reach {
  std::vector<std::string> namespaces;  // empty: every namespace
  PredicatePtr filter;                  // null: no further restriction

  bool HasNamespace(absl::string_view ns) const;
  bool Has(const ConnectionInfo& connection) const;
  // Whether nothing that the revocation covers is known to lie outside.
  bool Has(const RevocationTarget& target) const;
};

using ReachPtr = std::shared_ptr<const Reach>;

// The same of a reach that may be null.
template <typename Thing>
bool IsWithin(const Reach* reach, const Thing& thing) {
  return reach == nullptr || reach->Has(thing);
}

// PERMISSION_DENIED: an identity that the caller's filter does not match.
absl::Status OutOfReach();

}  // namespace broker
