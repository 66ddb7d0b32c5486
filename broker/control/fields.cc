#include "broker/control/fields.h"

#include <algorithm>

#include "absl/strings/str_join.h"

namespace broker {
namespace {

constexpr size_t kMaxExcluded = 1'000;

}  // namespace

absl::StatusOr<ConnectionId> ReadUuid(absl::string_view field,
                                      absl::string_view text) {
  absl::StatusOr<Uuid> id = Uuid::Parse(text);
  if (!id.ok()) {
    return InvalidField(
        field, absl::StrCat(text.empty() ? "is missing" : Quoted(text), ": ",
                            id.status().message()));
  }
  return *id;
}

absl::StatusOr<ConnectionIdSet> ReadExcluded(
    const google::protobuf::RepeatedPtrField<std::string>& ids) {
  static constexpr char kField[] = "exclude_connection_ids";
  if (static_cast<size_t>(ids.size()) > kMaxExcluded) {
    return InvalidField(kField, absl::StrCat(ids.size(), " ids, at most ",
                                             kMaxExcluded, " are allowed"));
  }
  ConnectionIdSet set;
  for (int i = 0; i < ids.size(); ++i) {
    BROKER_ASSIGN_OR_RETURN(
        const ConnectionId id,
        ReadUuid(absl::StrCat(kField, "[", i, "]"), ids[i]));
    set.insert(id);
  }
  return set;
}

absl::StatusOr<PredicatePtr> ReadExcludeFilter(bool present,
                                               absl::string_view text) {
  static constexpr char kField[] = "exclude_filter";
  if (!present) return PredicatePtr();
  const auto tree = ParseFilter(text);
  if (!tree.ok()) {  // It calls the field "filter".
    return InvalidField(kField,
                        GetFieldViolations(tree.status()).front().description);
  }
  BROKER_ASSIGN_OR_RETURN(const PredicatePtr excluded,
                          CompileFilter(*tree, kField));
  return Predicate::Not(*excluded);
}

absl::Status CheckNamespace(absl::string_view ns, const Settings& settings) {
  if (settings.FindNamespace(ns) != nullptr) return absl::OkStatus();
  return InvalidField(
      "namespace", absl::StrCat(Quoted(ns), " is not served here; these are: ",
                                absl::StrJoin(settings.Namespaces(), ", ")));
}

absl::StatusOr<std::optional<absl::Duration>> ReadDuration(
    absl::string_view field, bool present,
    const google::protobuf::Duration& duration, absl::Duration most) {
  if (!present) return std::optional<absl::Duration>();
  const absl::Duration d =
      absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
  if (d <= absl::ZeroDuration() || d > most) {
    return InvalidField(field, absl::StrCat(absl::FormatDuration(d),
                                            ": must be above zero and at most ",
                                            absl::FormatDuration(most)));
  }
  return std::optional<absl::Duration>(d);
}

absl::StatusOr<States> ReadStates(
    const google::protobuf::RepeatedField<int>& states) {
  if (states.empty()) return States::All();
  States out;
  for (int i = 0; i < states.size(); ++i) {
    switch (states[i]) {
      case socketbroker::v1::CONNECTION_STATE_PENDING:
        out.Add(ConnectionState::kPending);
        break;
      case socketbroker::v1::CONNECTION_STATE_ADMITTED:
        out.Add(ConnectionState::kAdmitted);
        break;
      case socketbroker::v1::CONNECTION_STATE_CLOSING:
        out.Add(ConnectionState::kClosing);
        break;
      default:
        return InvalidField(absl::StrCat("states[", i, "]"),
                            absl::StrCat(states[i],
                                         " is no state: must be PENDING (1), "
                                         "ADMITTED (2) or CLOSING (3)"));
    }
  }
  return out;
}

absl::StatusOr<size_t> ReadPageSize(int page_size) {
  if (page_size < 0) {
    return InvalidField("page_size", absl::StrCat(page_size,
                                                  ": must be 1 to "
                                                  "1000, or 0 for "
                                                  "100"));
  }
  return page_size == 0 ? 100 : std::min<size_t>(page_size, 1'000);
}

}  // namespace broker
