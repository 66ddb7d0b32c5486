#include "broker/core/status.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/optional.h"

namespace broker {
namespace {

constexpr char kFieldUrl[] = "socketbroker/field_violation";
constexpr char kReasonUrl[] = "socketbroker/reason";
// Separates the parts of a payload. No field name, reason or metadata has it.
constexpr char kSeparator = '\0';

}  // namespace

absl::Status InvalidField(absl::string_view field,
                          absl::string_view description) {
  absl::Status status = absl::InvalidArgumentError(
      field.empty() ? std::string(description)
                    : absl::StrCat(field, ": ", description));
  std::string payload(field);
  payload += kSeparator;
  absl::StrAppend(&payload, description);
  status.SetPayload(kFieldUrl, absl::Cord(payload));
  return status;
}

absl::Status WithReason(
    absl::Status status, absl::string_view reason,
    std::vector<std::pair<std::string, std::string>> metadata) {
  std::string payload(reason);
  for (const auto& [key, value] : metadata) {
    payload += kSeparator;
    payload += key;
    payload += kSeparator;
    payload += value;
  }
  status.SetPayload(kReasonUrl, absl::Cord(payload));
  return status;
}

absl::Status BelowField(absl::string_view prefix, const absl::Status& status) {
  const auto violations = GetFieldViolations(status);
  if (violations.empty()) return status;
  const FieldViolation& v = violations.front();
  absl::Status below =
      InvalidField(v.field.empty() ? std::string(prefix)
                                   : absl::StrCat(prefix, ".", v.field),
                   v.description);
  if (const auto reason = status.GetPayload(kReasonUrl)) {
    below.SetPayload(kReasonUrl, *reason);
  }
  return below;
}

std::vector<FieldViolation> GetFieldViolations(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kFieldUrl);
  if (!payload) return {};
  const std::string text(*payload);
  const size_t cut = text.find(kSeparator);
  return {{text.substr(0, cut), text.substr(cut + 1)}};
}

ErrorReason GetErrorReason(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kReasonUrl);
  if (!payload) return {};
  const std::vector<std::string> parts =
      absl::StrSplit(std::string(*payload), kSeparator);
  ErrorReason out{parts[0], {}};
  for (size_t i = 1; i + 1 < parts.size(); i += 2) {
    out.metadata.emplace_back(parts[i], parts[i + 1]);
  }
  return out;
}

}  // namespace broker
