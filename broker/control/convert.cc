#include "broker/control/convert.h"

namespace broker {

namespace v1 = ::socketbroker::v1;

namespace {

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
  switch (outcome) {
    case SendOutcome::kQueued:
      return v1::SEND_OUTCOME_QUEUED;
    case SendOutcome::kDroppedSlow:
      return v1::SEND_OUTCOME_DROPPED_SLOW;
    case SendOutcome::kGone:
      return v1::SEND_OUTCOME_GONE;
    case SendOutcome::kWritten:
      return v1::SEND_OUTCOME_WRITTEN;
    case SendOutcome::kExpired:
      return v1::SEND_OUTCOME_EXPIRED;
    case SendOutcome::kUnfit:
      return v1::SEND_OUTCOME_UNFIT;
  }
  return v1::SEND_OUTCOME_UNSPECIFIED;
}

}  // namespace broker
