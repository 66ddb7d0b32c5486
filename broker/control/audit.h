// The audit: one line of the log (event "audit") for every call that changes
// something, and for every call that was denied. It says who, what, to whom and
// with which counts; keys of identities as the first digits of their SHA-256,
// since whoever knows a key may revoke it; never a label, a ticket or a text.
//
// Thread-safe.

#pragma once

#include <string>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "broker/rpc/callers.h"
#include "broker/rpc/roles.h"

namespace broker::control {

// Whether calls that send are told of too, one line a call. At first not.
void SetAuditSends(bool on);
bool AuditsSends();

using AuditCounts =
    absl::InlinedVector<std::pair<absl::string_view, uint64_t>, 6>;

struct AuditLine {
  absl::string_view caller;
  absl::string_view method;
  std::string target;
  std::string ns;
  AuditCounts counts;
  std::string revocation_id;
  absl::Status outcome;
};
void WriteAudit(const AuditLine& line);

// A call that did not get as far as its handler.
void AuditDenied(absl::string_view caller, const Rule& rule,
                 const absl::Status& why);
// A stream has ended; told of when that is for want of rights.
void AuditEnd(absl::string_view caller, const Rule& rule,
              const absl::Status& how);

namespace audit {

// "account 1a2b3c4d5e6f"
std::string Key(absl::string_view kind, absl::string_view key);
std::string Id(absl::string_view kind, const std::string& id);

template <typename Request>
std::string Target(const Request& r) {
  if constexpr (requires { r.connection_id(); }) {
    return Id("connection", r.connection_id());
  } else if constexpr (requires { r.revocation_id(); }) {
    return Id("revocation", r.revocation_id());
  } else if constexpr (requires { r.selector_case(); }) {
    if (r.match_all()) return "everybody";
    return Key("filter", r.has_filter() ? r.filter()
                                        : r.filter_expr().SerializeAsString());
  } else if constexpr (requires { r.token_hash(); }) {
    return Key("session", r.token_hash());
  } else if constexpr (requires { r.api_token_id(); }) {
    return Key("token", r.api_token_id());
  } else if constexpr (requires { r.account_id(); }) {
    return Key("account", r.account_id());
  } else if constexpr (requires { r.identity(); }) {
    return Key("account", r.identity().account_id());
  } else {
    return "everybody";
  }
}

template <typename Request>
std::string Namespace(const Request& r) {
  if constexpr (requires { r.all_namespaces(); }) {
    if (r.all_namespaces()) return "*";
  }
  if constexpr (requires { r.has_namespace_(); }) {
    if (r.has_namespace_()) return r.namespace_().substr(0, 64);
    // A close by key without one is for all that the caller reaches.
    constexpr bool kByKey = requires { r.block_for(); };
    return kByKey ? "*" : "default";
  }
  return "";
}

template <typename Response>
AuditCounts Counts(const Response& r) {
  AuditCounts counts;
#define BROKER_COUNT(field)              \
  if constexpr (requires { r.field(); }) \
    counts.emplace_back(#field, static_cast<uint64_t>(r.field()));
  BROKER_COUNT(closed)
  BROKER_COUNT(matched)
  BROKER_COUNT(queued)
  BROKER_COUNT(dropped_slow)
  BROKER_COUNT(written)
  BROKER_COUNT(expired)
  BROKER_COUNT(gone)
  BROKER_COUNT(updated)
  BROKER_COUNT(over_limit)
  BROKER_COUNT(out_of_reach)
  BROKER_COUNT(removed)
  BROKER_COUNT(epoch)
#undef BROKER_COUNT
  return counts;
}

}  // namespace audit

// Whether the audit tells of a call that ended so.
inline bool IsAudited(const Rule& rule, const absl::Status& outcome) {
  if (outcome.code() == absl::StatusCode::kPermissionDenied) return true;
  return rule.effect == Effect::kChanges ||
         (rule.effect == Effect::kSends && AuditsSends());
}

// What a handler answered. `cancelled`: nobody was there any more to hear it.
template <typename Request, typename Response>
void AuditCall(const Caller& caller, const Rule& rule, const Request& request,
               const absl::StatusOr<Response>& result, bool cancelled) {
  if (!IsAudited(rule, result.status())) return;
  AuditLine line;
  line.caller = caller.name;
  line.method = {rule.method.data(), rule.method.size()};
  line.target = audit::Target(request);
  line.ns = audit::Namespace(request);
  line.outcome = result.status();
  if (result.ok()) {
    line.counts = audit::Counts(*result);
    if constexpr (requires { result->revocation_id(); }) {
      line.revocation_id = result->revocation_id();
    }
    if (cancelled) line.outcome = absl::CancelledError("");
  }
  WriteAudit(line);
}

}  // namespace broker::control
