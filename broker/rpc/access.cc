#include "broker/rpc/access.h"

#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "broker/core/secret.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"

namespace broker {
namespace {

constexpr absl::string_view kScheme = "bearer ";

absl::Status Unauthenticated(absl::string_view message,
                             absl::string_view reason) {
  return WithReason(absl::UnauthenticatedError(message), reason);
}

absl::Status Unknown() {
  return Unauthenticated(
      "the API key is not known: give one that the broker is configured with "
      "as authorization: Bearer <key>",
      "CALLER_UNKNOWN");
}

// The subject alternative names, then the common name.
std::vector<std::string> CertificateNames(
    const grpc::ServerContextBase& context) {
  std::vector<std::string> names;
  const auto auth = context.auth_context();
  if (auth == nullptr || !auth->IsPeerAuthenticated()) return names;
  for (const char* property :
       {"x509_subject_alternative_name", "x509_common_name"}) {
    for (const grpc::string_ref& name : auth->FindPropertyValues(property)) {
      names.emplace_back(name.data(), name.size());
    }
  }
  return names;
}

}  // namespace

void Access::SetCallers(CallersPtr callers) {
  {
    MutexLock lock(mu_);
    callers_ = std::move(callers);
    open_ = callers_ == nullptr && !client_certificates_;
  }
  reloads_.fetch_add(1, std::memory_order_release);
}

CallersPtr Access::callers() const {
  MutexLock lock(mu_);
  return callers_;
}

absl::StatusOr<CallerPtr> Access::Identify(
    const grpc::ServerContextBase& context) const {
  if (open_.load(std::memory_order_acquire)) return AnonymousCaller();
  const CallersPtr callers = this->callers();
  const auto [begin, end] =
      context.client_metadata().equal_range("authorization");
  if (callers == nullptr || begin == end) {
    return ByCertificate(callers, context);
  }
  if (std::next(begin) != end) return Unknown();
  return ByKey(*callers, {begin->second.data(), begin->second.size()});
}

absl::StatusOr<CallerPtr> Access::ByKey(const Callers& callers,
                                        absl::string_view authorization) const {
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) return Unknown();
  const absl::string_view key =
      absl::StripAsciiWhitespace(authorization.substr(kScheme.size()));
  const Sha256Digest hash = Sha256(key);
  CallerPtr caller = callers.Find(
      KeyCredential({reinterpret_cast<const char*>(hash.data()), hash.size()}));
  if (caller == nullptr) return Unknown();
  return NotExpired(std::move(caller));
}

absl::StatusOr<CallerPtr> Access::ByCertificate(
    const CallersPtr& callers, const grpc::ServerContextBase& context) const {
  const std::vector<std::string> names = client_certificates_
                                             ? CertificateNames(context)
                                             : std::vector<std::string>();
  if (callers == nullptr) {
    // The certificate was asked for, and its chain is verified.
    if (names.empty()) return AnonymousCaller();
    auto caller = std::make_shared<Caller>(*AnonymousCaller());
    caller->name = names.back();
    return CallerPtr(std::move(caller));
  }
  for (const std::string& name : names) {
    CallerPtr caller = callers->Find(CertificateCredential(name));
    if (caller != nullptr) return NotExpired(std::move(caller));
  }
  return Unauthenticated(
      "the call has no API key, and none is known for its connection: give one "
      "as authorization: Bearer <key>",
      "CALLER_MISSING");
}

absl::StatusOr<CallerPtr> Access::NotExpired(CallerPtr caller) const {
  if (!caller->expires_at || clock_.Now() < *caller->expires_at) return caller;
  return Unauthenticated(
      "the caller's time is over: it expired at " +
          absl::FormatTime(*caller->expires_at, absl::UTCTimeZone()),
      "CALLER_EXPIRED");
}

absl::StatusOr<CallerPtr> Access::Renew(const CallerPtr& caller) const {
  if (reloads_.load(std::memory_order_acquire) == 0) return NotExpired(caller);
  const CallersPtr callers = this->callers();
  if (callers == nullptr) return caller;
  CallerPtr now = callers->Find(caller->credential);
  if (now == nullptr) return Unknown();
  return NotExpired(std::move(now));
}

absl::Status Access::CheckUnchanged(CallerPtr& caller, const Rule& rule) const {
  BROKER_ASSIGN_OR_RETURN(CallerPtr now, Renew(caller));
  if (now == caller) return absl::OkStatus();
  BROKER_RETURN_IF_ERROR(now->CheckRole(rule));
  if (now->namespaces() == caller->namespaces() &&
      Predicate::Both(now->filter(), nullptr)->fingerprint() ==
          Predicate::Both(caller->filter(), nullptr)->fingerprint()) {
    caller = std::move(now);
    return absl::OkStatus();
  }
  return WithReason(
      absl::AbortedError("what the caller reaches has changed: start again"),
      "CALLER_CHANGED");
}

}  // namespace broker
