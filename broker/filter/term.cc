#include "broker/filter/term.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "broker/core/quoted.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/filter/limits.h"

namespace broker {
namespace {

using socketbroker::v1::FilterComparison;
using socketbroker::v1::FilterMember;
using socketbroker::v1::FilterPresent;

constexpr uint32_t Bit(Credential credential) {
  return 1u << static_cast<int>(credential);
}
constexpr uint32_t kAnyCredential = Bit(Credential::kSession) |
                                    Bit(Credential::kToken) |
                                    Bit(Credential::kDaemon);

// Zero when it is none of them.
uint32_t CredentialBit(absl::string_view name) {
  return name == "SESSION"  ? Bit(Credential::kSession)
         : name == "TOKEN"  ? Bit(Credential::kToken)
         : name == "DAEMON" ? Bit(Credential::kDaemon)
                            : 0;
}

// `text` has the shape: a digit wherever the shape has a 0.
bool HasShape(absl::string_view text, absl::string_view shape) {
  if (text.size() != shape.size()) return false;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == '0' ? !absl::ascii_isdigit(text[i])
                        : absl::ascii_toupper(text[i]) != shape[i]) {
      return false;
    }
  }
  return true;
}

// absl::ParseTime also takes blanks, "infinite-future", zones such as "+1" and
// years of many digits, none of which is RFC 3339.
bool IsTime(absl::string_view text) {
  static constexpr absl::string_view kTime = "0000-00-00T00:00:00";
  if (!HasShape(text.substr(0, kTime.size()), kTime)) return false;
  text.remove_prefix(kTime.size());
  if (absl::ConsumePrefix(&text, ".")) {
    const size_t digits =
        std::min(text.find_first_not_of("0123456789"), text.size());
    if (digits == 0) return false;
    text.remove_prefix(digits);
  }
  return HasShape(text, "Z") || HasShape(text, "+00:00") ||
         HasShape(text, "-00:00");
}

}  // namespace

absl::StatusOr<Term> Term::Compile(const FilterComparison& comparison) {
  // The operators come first in Test, in the order of their numbers.
  static_assert(static_cast<int>(Test::kContains) + 1 ==
                FilterComparison::OPERATOR_CONTAINS);
  BROKER_ASSIGN_OR_RETURN(FieldName name, ParseFieldName(comparison.field()));
  BROKER_RETURN_IF_ERROR(CheckOperator(name.field, comparison.op()));
  Term term(std::move(name), static_cast<Test>(comparison.op() - 1));
  BROKER_RETURN_IF_ERROR(term.AddValue(comparison.value(), "value"));
  return term;
}

absl::StatusOr<Term> Term::Compile(const FilterMember& member) {
  BROKER_ASSIGN_OR_RETURN(FieldName name, ParseFieldName(member.field()));
  if (name.field == Field::kConnectTime) {
    return InvalidField("field",
                        "connect_time does not go with member; compare it with "
                        "EQ, NE, LT, LE, GT, GE");
  }
  if (member.values().empty()) {
    return InvalidField("values", "must have one value or more, has none");
  }
  Term term(std::move(name), Test::kMember);
  for (int i = 0; i < member.values_size(); ++i) {
    BROKER_RETURN_IF_ERROR(
        term.AddValue(member.values(i), absl::StrCat("values[", i, "]")));
  }
  return term;
}

absl::StatusOr<Term> Term::Compile(const FilterPresent& present) {
  BROKER_ASSIGN_OR_RETURN(FieldName name, ParseFieldName(present.field()));
  return Term(std::move(name), Test::kPresent);
}

absl::Status Term::CheckLength(absl::string_view value,
                               absl::string_view place) const {
  if (value.size() > kMaxValueBytes) {
    return InvalidField(
        place, absl::StrCat("has ", value.size(), " bytes, the limit is ",
                            kMaxValueBytes));
  }
  // A label may be "". Nothing else is, and every text starts with "".
  const bool may_be_empty =
      name_.field == Field::kLabel &&
      (test_ == Test::kEq || test_ == Test::kNe || test_ == Test::kMember);
  if (value.empty() && !may_be_empty) {
    return InvalidField(place,
                        "must not be empty; only EQ, NE and member on a label "
                        "take an empty value");
  }
  return absl::OkStatus();
}

absl::Status Term::AddValue(absl::string_view value, absl::string_view place) {
  BROKER_RETURN_IF_ERROR(CheckLength(value, place));
  if (name_.field == Field::kConnectionId) {
    const absl::StatusOr<ConnectionId> id = ConnectionId::Parse(value);
    if (!id.ok()) {
      return InvalidField(
          place, absl::StrCat(id.status().message(), ", not ", Quoted(value)));
    }
    ids_.insert(*id);
  } else if (name_.field == Field::kCredential) {
    const uint32_t bit = CredentialBit(value);
    if (bit == 0) {
      return InvalidField(place,
                          absl::StrCat("must be SESSION, TOKEN or DAEMON, not ",
                                       Quoted(value)));
    }
    credentials_ |= test_ == Test::kNe ? kAnyCredential & ~bit : bit;
  } else if (name_.field == Field::kConnectTime) {
    absl::Time time;
    if (!IsTime(value) ||
        !absl::ParseTime(absl::RFC3339_full, value, &time, nullptr)) {
      return InvalidField(place, absl::StrCat("must be an RFC 3339 time such "
                                              "as 2026-11-25T10:00:00Z, not ",
                                              Quoted(value)));
    }
    unix_micros_ = absl::ToUnixMicros(time);
  } else if (test_ == Test::kMember) {
    values_.emplace(value);
  } else {
    value_ = std::string(value);
  }
  return absl::OkStatus();
}

Pin Term::MakePin() const {
  if (test_ != Test::kEq && test_ != Test::kMember) return {};
  IndexedField field;
  switch (name_.field) {
    case Field::kAccountId:
      field = IndexedField::kAccountId;
      break;
    case Field::kTokenHash:
      field = IndexedField::kTokenHash;
      break;
    case Field::kApiTokenId:
      field = IndexedField::kApiTokenId;
      break;
    case Field::kConnectionId:
      field = IndexedField::kConnectionId;
      break;
    case Field::kGroups:
      field = IndexedField::kGroup;
      break;
    default:
      return {};
  }
  Pin pin;
  if (field == IndexedField::kConnectionId) {
    for (const ConnectionId& id : ids_) pin.push_back({field, id.ToString()});
  } else if (test_ == Test::kEq) {
    pin.push_back({field, value_});
  } else {
    for (const std::string& value : values_) pin.push_back({field, value});
  }
  std::sort(pin.begin(), pin.end());
  return pin;
}

bool Term::Matches(const ConnectionInfo& c) const {
  switch (name_.field) {
    case Field::kConnectionId:
      return MatchesId(c.id);
    case Field::kConnectTime:
      return MatchesTime(c.connect_time);
    case Field::kEndpoint:
      return !c.endpoint.empty() && MatchesText(c.endpoint);
    case Field::kRemoteAddress:
      return !c.remote_address.empty() && MatchesText(c.remote_address);
    default:
      return c.identity != nullptr && MatchesIdentity(*c.identity);
  }
}

bool Term::MatchesIdentity(const Identity& identity) const {
  const auto matches = [this](const std::optional<absl::string_view>& text) {
    return text && MatchesText(*text);
  };
  switch (name_.field) {
    case Field::kAccountId:
      return MatchesText(identity.account_id());
    case Field::kTokenHash:
      return matches(identity.token_hash());
    case Field::kApiTokenId:
      return matches(identity.api_token_id());
    case Field::kCredential:
      return test_ == Test::kPresent ||
             (credentials_ & Bit(identity.credential())) != 0;
    case Field::kGroups:
      return MatchesGroups(identity);
    case Field::kLabel:
      return matches(identity.FindLabel(name_.label_key));
    default:
      return false;  // not of the identity
  }
}

bool Term::MatchesText(absl::string_view text) const {
  switch (test_) {
    case Test::kEq:
      return text == value_;
    case Test::kNe:
      return text != value_;
    case Test::kPrefix:
      return absl::StartsWith(text, value_);
    case Test::kSuffix:
      return absl::EndsWith(text, value_);
    case Test::kContains:
      return absl::StrContains(text, value_);
    case Test::kMember:
      return values_.contains(text);
    case Test::kPresent:
      return true;
    default:
      return false;  // LT to GE are for times
  }
}

bool Term::MatchesGroups(const Identity& identity) const {
  const size_t count = identity.group_count();
  switch (test_) {
    case Test::kEq:
    case Test::kNe: {
      const size_t at = identity.FindGroupFrom(value_);
      const bool is_in = at < count && identity.group(at) == value_;
      return test_ == Test::kEq ? is_in : count > 0 && !is_in;
    }
    case Test::kPrefix: {
      // What starts with the value sorts right after it.
      const size_t at = identity.FindGroupFrom(value_);
      return at < count && absl::StartsWith(identity.group(at), value_);
    }
    default:
      for (size_t i = 0; i < count; ++i) {
        if (MatchesText(identity.group(i))) return true;
      }
      return false;
  }
}

bool Term::MatchesId(const ConnectionId& id) const {
  switch (test_) {
    case Test::kPresent:
      return true;
    case Test::kNe:
      return !ids_.contains(id);
    default:
      return ids_.contains(id);
  }
}

bool Term::MatchesTime(absl::Time time) const {
  // Microseconds are what the API shows, so what a caller read compares equal.
  const int64_t micros = absl::ToUnixMicros(time);
  switch (test_) {
    case Test::kEq:
      return micros == unix_micros_;
    case Test::kNe:
      return micros != unix_micros_;
    case Test::kLt:
      return micros < unix_micros_;
    case Test::kLe:
      return micros <= unix_micros_;
    case Test::kGt:
      return micros > unix_micros_;
    case Test::kGe:
      return micros >= unix_micros_;
    default:
      return test_ == Test::kPresent;
  }
}

}  // namespace broker
