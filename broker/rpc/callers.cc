#include "broker/rpc/callers.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "broker/core/quoted.h"
#include "broker/core/status.h"

namespace broker {

absl::Status Caller::CheckRole(const Rule& rule) const {
  if (roles.Allow(rule.roles)) return absl::OkStatus();
  const std::string wanted = rule.roles.ToString();
  return WithReason(
      absl::PermissionDeniedError(absl::StrCat(
          "caller ", Quoted(name), " has the roles ", roles.ToString(),
          ", and ", std::string(rule.method), " wants one of ", wanted)),
      "ROLE_MISSING",
      {{"caller", name},
       {"method", std::string(rule.method)},
       {"roles", wanted}});
}

absl::Status Caller::CheckNamespace(absl::string_view field,
                                    absl::string_view ns) const {
  if (reach == nullptr || reach->HasNamespace(ns)) return absl::OkStatus();
  return WithReason(
      absl::PermissionDeniedError(absl::StrCat(
          field, ": ", Quoted(ns), " is out of reach for caller ", Quoted(name),
          ", which reaches ", absl::StrJoin(reach->namespaces, ", "))),
      "NAMESPACE_OUT_OF_REACH",
      {{"caller", name}, {"namespace", std::string(ns)}});
}

absl::Status Caller::CheckReach(const ConnectionInfo& connection) const {
  if (IsWithin(reach.get(), connection)) return absl::OkStatus();
  return OutOfReach();
}

PredicatePtr Caller::filter() const {
  return reach == nullptr ? nullptr : reach->filter;
}

std::vector<std::string> Caller::namespaces() const {
  return reach == nullptr ? std::vector<std::string>() : reach->namespaces;
}

const CallerPtr& AnonymousCaller() {
  static const CallerPtr& anonymous = *new CallerPtr(
      new Caller{"anonymous", Roles::Any(), nullptr, std::nullopt, ""});
  return anonymous;
}

std::string KeyCredential(absl::string_view hash) {
  return absl::StrCat("key ", hash);
}

std::string CertificateCredential(absl::string_view name) {
  return absl::StrCat("certificate ", name);
}

Callers::Callers(std::vector<CallerPtr> callers) {
  for (CallerPtr& caller : callers) {
    std::string credential = caller->credential;
    by_credential_.emplace(std::move(credential), std::move(caller));
  }
}

CallerPtr Callers::Find(const std::string& credential) const {
  const auto it = by_credential_.find(credential);
  return it == by_credential_.end() ? nullptr : it->second;
}

}  // namespace broker
