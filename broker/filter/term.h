// Term: one question about one field, a leaf of a filter, ready to be asked.
//
// Immutable once compiled, and then thread-safe.

#pragma once

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "broker/core/identity.h"
#include "broker/core/ids.h"
#include "broker/filter/fields.h"
#include "broker/filter/pin.h"
#include "socketbroker/v1/filter.pb.h"

namespace broker {

class Term {
 public:
  // The place of an error is the wrong field of the message: "op", "values[3]".
  static absl::StatusOr<Term> Compile(
      const socketbroker::v1::FilterComparison& comparison);
  static absl::StatusOr<Term> Compile(
      const socketbroker::v1::FilterMember& member);
  static absl::StatusOr<Term> Compile(
      const socketbroker::v1::FilterPresent& present);

  // Asked once per connection: it allocates nothing.
  bool Matches(const ConnectionInfo& c) const;

  Field field() const { return name_.field; }
  // Empty when no index helps.
  Pin MakePin() const;

 private:
  // The operators, and the two leaves that are not comparisons.
  enum class Test {
    kEq,
    kNe,
    kLt,
    kLe,
    kGt,
    kGe,
    kPrefix,
    kSuffix,
    kContains,
    kMember,
    kPresent,
  };

  Term(FieldName name, Test test) : name_(std::move(name)), test_(test) {}

  absl::Status AddValue(absl::string_view value, absl::string_view place);
  absl::Status CheckLength(absl::string_view value,
                           absl::string_view place) const;

  bool MatchesIdentity(const Identity& identity) const;
  bool MatchesText(absl::string_view text) const;
  bool MatchesGroups(const Identity& identity) const;
  bool MatchesId(const ConnectionId& id) const;
  bool MatchesTime(absl::Time time) const;

  FieldName name_;
  Test test_;
  // What to compare with, one of these by field and test.
  std::string value_;
  absl::flat_hash_set<std::string> values_;
  absl::flat_hash_set<ConnectionId> ids_;
  uint32_t credentials_ = 0;  // a bit per Credential
  int64_t unix_micros_ = 0;
};

}  // namespace broker
