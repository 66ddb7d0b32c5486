#include "broker/registry/reach.h"

#include <algorithm>

#include "broker/core/status.h"

namespace broker {

bool Reach::HasNamespace(absl::string_view ns) const {
  return namespaces.empty() || std::find(namespaces.begin(), namespaces.end(),
                                         ns) != namespaces.end();
}

bool Reach::Has(const ConnectionInfo& c) const {
  return HasNamespace(c.ns) && (filter == nullptr || filter->Matches(c));
}

bool Reach::Has(const RevocationTarget& target) const {
  if (!namespaces.empty()) {
    if (target.namespaces.empty()) return false;
    for (const std::string& ns : target.namespaces) {
      if (!HasNamespace(ns)) return false;
    }
  }
  // Whether one filter implies another is not to be told in general: it must be
  // the same.
  return filter == nullptr ||
         (target.within != nullptr &&
          target.within->fingerprint() == filter->fingerprint());
}

absl::Status OutOfReach() {
  return WithReason(
      absl::PermissionDeniedError("the connection would not be one that the "
                                  "filter of the caller's key matches"),
      "OUT_OF_REACH");
}

}  // namespace broker
