#include "broker/rpc/identity.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "broker/core/identity_limits.h"
#include "broker/core/quoted.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"

namespace broker {

namespace v1 = ::socketbroker::v1;

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

absl::Status CheckLabelKey(absl::string_view field, absl::string_view key) {
  const bool good =
      !key.empty() && key.size() <= kMaxLabelKeyBytes &&
      std::all_of(key.begin(), key.end(), [](char c) {
        return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' ||
               c == '-';
      });
  if (good) return absl::OkStatus();
  return InvalidField(field,
                      absl::StrCat("key ", Quoted(key), ": must be 1 to ",
                                   kMaxLabelKeyBytes, " of A-Z a-z 0-9 _ -"));
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> ReadLabels(
    absl::string_view field,
    const google::protobuf::Map<std::string, std::string>& labels) {
  if (labels.size() > kMaxLabels) {
    return InvalidField(field, absl::StrCat(labels.size(), " labels, at most ",
                                            kMaxLabels, " are allowed"));
  }
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [key, value] : labels) {
    BROKER_RETURN_IF_ERROR(CheckLabelKey(field, key));
    if (value.size() > kMaxLabelValueBytes) {
      return InvalidField(absl::StrCat(field, "[", Quoted(key), "]"),
                          absl::StrCat(value.size(), " bytes, at most ",
                                       kMaxLabelValueBytes, " are allowed"));
    }
    out.emplace_back(key, value);
  }
  std::sort(out.begin(), out.end());
  return out;
}

absl::StatusOr<std::vector<std::string>> ReadGroups(
    absl::string_view field,
    const google::protobuf::RepeatedPtrField<std::string>& groups) {
  std::vector<std::string> out(groups.begin(), groups.end());
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  if (out.size() > kMaxGroups) {
    return InvalidField(field, absl::StrCat(out.size(), " groups, at most ",
                                            kMaxGroups, " are allowed"));
  }
  for (int i = 0; i < groups.size(); ++i) {
    if (groups[i].empty() || groups[i].size() > kMaxGroupBytes) {
      return InvalidField(
          absl::StrCat(field, "[", i, "]"),
          absl::StrCat(groups[i].size(), " bytes, must be 1 to ",
                       kMaxGroupBytes));
    }
  }
  return out;
}

absl::StatusOr<absl::Time> ReadExpiry(
    absl::string_view field, const google::protobuf::Timestamp& timestamp,
    const Clock& clock) {
  BROKER_RETURN_IF_ERROR(CheckTimestamp(field, timestamp));
  const absl::Time expiry = ToTime(timestamp);
  if (expiry > clock.Now()) return expiry;
  return InvalidField(
      field, absl::StrCat(absl::FormatTime(expiry, absl::UTCTimeZone()),
                          " is in the past"));
}

absl::StatusOr<IdentityPtr> ReadIdentity(absl::string_view field, bool present,
                                         const v1::Identity& message,
                                         const Clock& clock) {
  if (!present) return InvalidField(field, "is missing");
  const auto at = [&](const char* name) {
    return absl::StrCat(field, ".", name);
  };
  IdentityFields identity;
  BROKER_RETURN_IF_ERROR(CheckKey(at("account_id"), message.has_account_id(),
                                  message.account_id()));
  identity.account_id = message.account_id();
  if (message.has_token_hash()) {
    BROKER_RETURN_IF_ERROR(
        CheckKey(at("token_hash"), true, message.token_hash()));
    identity.token_hash = message.token_hash();
  }
  if (message.has_api_token_id()) {
    BROKER_RETURN_IF_ERROR(
        CheckKey(at("api_token_id"), true, message.api_token_id()));
    identity.api_token_id = message.api_token_id();
  }
  if (identity.token_hash && identity.api_token_id) {
    return InvalidField(at("api_token_id"),
                        "is set together with token_hash: a connection has one "
                        "credential");
  }
  BROKER_ASSIGN_OR_RETURN(identity.labels,
                          ReadLabels(at("labels"), message.labels()));
  BROKER_ASSIGN_OR_RETURN(identity.groups,
                          ReadGroups(at("groups"), message.groups()));
  if (message.has_expires_at()) {
    BROKER_ASSIGN_OR_RETURN(
        identity.expires_at,
        ReadExpiry(at("expires_at"), message.expires_at(), clock));
  }
  return Identity::Make(identity);
}

v1::Identity ToProto(const Identity& identity) {
  v1::Identity out;
  const auto assign = [](absl::string_view text, std::string* to) {
    to->assign(text.data(), text.size());
  };
  assign(identity.account_id(), out.mutable_account_id());
  if (const auto key = identity.token_hash()) {
    assign(*key, out.mutable_token_hash());
  }
  if (const auto key = identity.api_token_id()) {
    assign(*key, out.mutable_api_token_id());
  }
  for (size_t i = 0; i < identity.label_count(); ++i) {
    assign(identity.label_value(i),
           &(*out.mutable_labels())[std::string(identity.label_key(i))]);
  }
  for (size_t i = 0; i < identity.group_count(); ++i) {
    assign(identity.group(i), out.add_groups());
  }
  if (const auto expires = identity.expires_at()) {
    FromTime(*expires, out.mutable_expires_at());
  }
  return out;
}

}  // namespace broker
