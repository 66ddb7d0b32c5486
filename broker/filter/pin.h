// Pin: what a filter says about an indexed field, so that the planner can look
// connections up instead of scanning them all.

#pragma once

#include <cstddef>
#include <string>
#include <tuple>
#include <vector>

namespace broker {

// The fields that the registry indexes. Those of an identity come first.
enum class IndexedField {
  kAccountId,
  kTokenHash,
  kApiTokenId,
  kGroup,
  kConnectionId,
};
inline constexpr size_t kIdentityIndexes = 4;

// The field has this value. A connection id is in its lower-case text form.
struct PinTerm {
  IndexedField field;
  std::string value;

  friend bool operator==(const PinTerm&, const PinTerm&) = default;
  friend bool operator<(const PinTerm& a, const PinTerm& b) {
    return std::tie(a.field, a.value) < std::tie(b.field, b.value);
  }
};

// A necessary condition: whatever matches has at least one of the terms. Sorted
// and without repeats, and never empty.
using Pin = std::vector<PinTerm>;

}  // namespace broker
