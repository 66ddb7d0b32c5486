#include "broker/control/fields.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "broker/core/identity_limits.h"

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

absl::Status CheckNamespace(absl::string_view ns, const Settings& settings) {
  if (settings.FindNamespace(ns) != nullptr) return absl::OkStatus();
  return InvalidField(
      "namespace", absl::StrCat(Quoted(ns), " is not served here; these are: ",
                                absl::StrJoin(settings.Namespaces(), ", ")));
}

absl::Status CheckKey(absl::string_view field, bool present,
                      absl::string_view key) {
  if (!present) return InvalidField(field, "is missing");
  if (key.empty()) {
    return InvalidField(field, "is empty, and an empty key names nothing");
  }
  if (key.size() > kMaxKeyBytes) {
    return InvalidField(field, absl::StrCat(key.size(), " bytes, at most ",
                                            kMaxKeyBytes, " are allowed"));
  }
  return absl::OkStatus();
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

absl::Time ToTime(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) +
         absl::Nanoseconds(timestamp.nanos());
}

void FromTime(absl::Time time, google::protobuf::Timestamp* out) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  out->set_seconds(seconds);
  out->set_nanos(static_cast<int32_t>(
      absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
}

absl::Status CheckTimestamp(absl::string_view field,
                            const google::protobuf::Timestamp& t) {
  // Years 1 to 9999, as google.protobuf.Timestamp says.
  const bool good = t.seconds() >= -62135596800 &&
                    t.seconds() <= 253402300799 && t.nanos() >= 0 &&
                    t.nanos() < 1'000'000'000;
  if (good) return absl::OkStatus();
  return InvalidField(field, absl::StrCat(t.seconds(), " s ", t.nanos(),
                                          " ns is no time from the year 1 to "
                                          "9999"));
}

}  // namespace broker
