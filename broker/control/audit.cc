#include "broker/control/audit.h"

#include <atomic>
#include <vector>

#include "absl/strings/escaping.h"
#include "broker/core/ids.h"
#include "broker/core/log.h"
#include "broker/core/secret.h"
#include "broker/core/status.h"

namespace broker::control {
namespace {

// Enough to tell a few million keys apart.
constexpr size_t kKeyBytes = 6;
// Strangers can be denied as often as they like.
constexpr uint32_t kDenialsPerSecond = 100;

std::atomic<bool> sends{false};

bool IsDenial(const absl::Status& outcome) {
  return outcome.code() == absl::StatusCode::kPermissionDenied ||
         outcome.code() == absl::StatusCode::kUnauthenticated;
}

}  // namespace

void SetAuditSends(bool on) { sends = on; }
bool AuditsSends() { return sends.load(std::memory_order_relaxed); }

std::string audit::Key(absl::string_view kind, absl::string_view key) {
  if (key.empty()) return absl::StrCat(kind, " missing");
  const Sha256Digest digest = Sha256(key);
  return absl::StrCat(
      kind, " ",
      absl::BytesToHexString(absl::string_view(
          reinterpret_cast<const char*>(digest.data()), kKeyBytes)));
}

std::string audit::Id(absl::string_view kind, const std::string& id) {
  // What is no id could be anything, a secret among others.
  return absl::StrCat(kind, " ", Uuid::Parse(id).ok() ? id : "malformed");
}

void WriteAudit(const AuditLine& line) {
  static LogLimiter& denials = *new LogLimiter(kDenialsPerSecond);
  const std::string outcome = absl::StatusCodeToString(line.outcome.code());
  const std::string reason = GetErrorReason(line.outcome).reason;
  std::vector<LogField> fields = {
      {"caller", line.caller}, {"method", line.method}, {"outcome", outcome}};
  if (!reason.empty()) fields.push_back({"reason", reason});
  if (!line.target.empty()) fields.push_back({"target", line.target});
  if (!line.ns.empty()) fields.push_back({"namespace", line.ns});
  for (const auto& [name, count] : line.counts) fields.push_back({name, count});
  if (!line.revocation_id.empty()) {
    fields.push_back({"revocation_id", line.revocation_id});
  }
  if (IsDenial(line.outcome)) {
    denials.Log(LogLevel::kWarning, "audit", "a call was denied", fields);
  } else {
    Log(LogLevel::kInfo, "audit", "a call was answered", fields);
  }
}

void AuditDenied(absl::string_view caller, const Rule& rule,
                 const absl::Status& why) {
  AuditLine line;
  line.caller = caller;
  line.method = {rule.method.data(), rule.method.size()};
  line.outcome = why;
  WriteAudit(line);
}

void AuditEnd(absl::string_view caller, const Rule& rule,
              const absl::Status& how) {
  if (IsDenial(how)) AuditDenied(caller, rule, how);
}

}  // namespace broker::control
