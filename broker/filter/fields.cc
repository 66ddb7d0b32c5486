#include "broker/filter/fields.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "broker/core/identity_limits.h"
#include "broker/core/quoted.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"

namespace broker {
namespace {

using Comparison = socketbroker::v1::FilterComparison;

constexpr uint32_t Bit(Comparison::Operator op) { return 1u << op; }

constexpr uint32_t kEqual = Bit(Comparison::OPERATOR_EQ);
constexpr uint32_t kEquality = kEqual | Bit(Comparison::OPERATOR_NE);
constexpr uint32_t kText = kEquality | Bit(Comparison::OPERATOR_PREFIX) |
                           Bit(Comparison::OPERATOR_SUFFIX) |
                           Bit(Comparison::OPERATOR_CONTAINS);
constexpr uint32_t kTime =
    kEquality | Bit(Comparison::OPERATOR_LT) | Bit(Comparison::OPERATOR_LE) |
    Bit(Comparison::OPERATOR_GT) | Bit(Comparison::OPERATOR_GE);

struct FieldInfo {
  absl::string_view name;
  uint32_t operators;
};

constexpr absl::string_view kLabelPrefix = "labels.";

// By Field. Credentials take EQ alone: prefixes would let a caller guess them
// piece by piece.
constexpr FieldInfo kFields[] = {
    {"account_id", kText},     {"token_hash", kEqual},
    {"api_token_id", kEqual},  {"connection_id", kEquality},
    {"credential", kEquality}, {"groups", kText},
    {"labels.<key>", kText},   {"endpoint", kText},
    {"remote_address", kText}, {"connect_time", kTime},
};

// By Comparison::Operator.
constexpr absl::string_view kOperators[] = {
    "UNSPECIFIED", "EQ", "NE",     "LT",     "LE",
    "GT",          "GE", "PREFIX", "SUFFIX", "CONTAINS"};

std::string OperatorNames(uint32_t operators) {
  std::vector<absl::string_view> names;
  for (int op = Comparison::Operator_MIN; op <= Comparison::Operator_MAX;
       ++op) {
    if (operators >> op & 1) names.push_back(kOperators[op]);
  }
  return absl::StrJoin(names, ", ");
}

absl::Status CheckLabelKey(absl::string_view key) {
  const bool legal = std::all_of(key.begin(), key.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '-';
  });
  if (legal && !key.empty() && key.size() <= kMaxLabelKeyBytes) {
    return absl::OkStatus();
  }
  return InvalidField(
      "field", absl::StrCat("the label key ", Quoted(key), " must be 1 to ",
                            kMaxLabelKeyBytes, " of A-Z a-z 0-9 _ -"));
}

}  // namespace

absl::StatusOr<FieldName> ParseFieldName(absl::string_view name) {
  absl::string_view key = name;
  if (absl::ConsumePrefix(&key, kLabelPrefix)) {
    BROKER_RETURN_IF_ERROR(CheckLabelKey(key));
    return FieldName{Field::kLabel, std::string(key)};
  }
  const auto* found =
      std::find_if(std::begin(kFields), std::end(kFields),
                   [&](const FieldInfo& f) { return f.name == name; });
  if (found != std::end(kFields)) {
    return FieldName{static_cast<Field>(found - kFields), ""};
  }
  const std::string names =
      absl::StrJoin(kFields, ", ", [](std::string* out, const FieldInfo& f) {
        absl::StrAppend(out, f.name);
      });
  return InvalidField("field", absl::StrCat("unknown field ", Quoted(name),
                                            "; the fields are ", names));
}

absl::Status CheckOperator(Field field, Comparison::Operator op) {
  const FieldInfo& info = kFields[static_cast<int>(field)];
  if (!Comparison::Operator_IsValid(op) ||
      op == Comparison::OPERATOR_UNSPECIFIED) {
    return InvalidField(
        "op", absl::StrCat("must be one of ", OperatorNames(info.operators),
                           " for ", info.name, ", not ", op));
  }
  if (info.operators & Bit(op)) return absl::OkStatus();
  return InvalidField(
      "op", absl::StrCat(info.name, " does not take ", kOperators[op],
                         "; it takes ", OperatorNames(info.operators)));
}

}  // namespace broker
