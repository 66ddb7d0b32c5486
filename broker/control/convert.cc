#include "broker/control/convert.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "broker/control/fields.h"
#include "broker/core/identity_limits.h"

namespace broker {

namespace v1 = ::socketbroker::v1;

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

namespace {

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

v1::ConnectionState ToProto(ConnectionState state) {
  switch (state) {
    case ConnectionState::kPending:
      return v1::CONNECTION_STATE_PENDING;
    case ConnectionState::kAdmitted:
      return v1::CONNECTION_STATE_ADMITTED;
    case ConnectionState::kClosing:
      return v1::CONNECTION_STATE_CLOSING;
  }
  return v1::CONNECTION_STATE_UNSPECIFIED;
}

void SetTarget(const RevocationTarget& target, v1::Revocation& out) {
  using Kind = RevocationTarget::Kind;
  switch (target.kind) {
    case Kind::kSession:
      out.set_token_hash(target.key);
      break;
    case Kind::kAccount:
      out.set_account_id(target.key);
      break;
    case Kind::kToken:
      out.set_api_token_id(target.key);
      break;
    case Kind::kFilter:
      if (target.predicate->matches_all()) {
        out.set_match_all(true);
      } else {
        *out.mutable_filter_expr() = target.predicate->expr();
      }
      break;
  }
  if (target.keep_token_hash) out.set_keep_token_hash(*target.keep_token_hash);
  for (const std::string& ns : target.namespaces) out.add_namespaces(ns);
  if (target.within) *out.mutable_within() = target.within->expr();
}

}  // namespace

v1::Connection ToProto(const ConnectionInfo& info) {
  v1::Connection out;
  out.set_connection_id(info.id.ToString());
  out.set_namespace_(info.ns);
  out.set_state(ToProto(info.state));
  if (info.identity != nullptr) {
    *out.mutable_identity() = ToProto(*info.identity);
  }
  out.set_endpoint(info.endpoint);
  out.set_remote_address(info.remote_address);
  out.set_remote_port(info.remote_port);
  out.set_origin(info.origin);
  out.set_query(info.query);
  FromTime(info.connect_time, out.mutable_connect_time());
  if (info.admit_time) FromTime(*info.admit_time, out.mutable_admit_time());
  out.set_version(info.version);
  out.set_epoch(info.epoch);
  if (info.close_code) out.set_close_code(*info.close_code);
  return out;
}

v1::Revocation ToProto(const Fence& fence) {
  v1::Revocation out;
  out.set_revocation_id(fence.id.ToString());
  SetTarget(fence.target, out);
  out.set_epoch(fence.epoch);
  FromTime(fence.create_time, out.mutable_create_time());
  if (fence.block_until_wall) {
    FromTime(*fence.block_until_wall, out.mutable_block_until());
  }
  FromTime(fence.forget_at_wall, out.mutable_expire_time());
  return out;
}

v1::SendOutcome ToProto(SendOutcome outcome) {
  return outcome == SendOutcome::kQueued ? v1::SEND_OUTCOME_QUEUED
                                         : v1::SEND_OUTCOME_DROPPED_SLOW;
}

}  // namespace broker
