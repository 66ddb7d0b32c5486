#include "broker/app/config_callers.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "broker/core/quoted.h"
#include "broker/core/status_macros.h"
#include "broker/filter/compiler.h"
#include "broker/filter/text_parser.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::config::v1;

constexpr int kMaxCallers = 1'000;
constexpr size_t kMaxNameBytes = 64;
constexpr size_t kHashDigits = 64;

absl::StatusOr<PredicatePtr> CompileCallerFilter(const std::string& text) {
  BROKER_ASSIGN_OR_RETURN(const auto tree, ParseFilter(text));
  BROKER_ASSIGN_OR_RETURN(PredicatePtr predicate, CompileFilter(tree));
  return predicate;
}

bool ParseExpiry(const std::string& text, absl::Time& time) {
  std::string error;
  return absl::ParseTime(absl::RFC3339_full, text, &time, &error);
}

bool IsName(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                  c == '_' || c == '-' || c == '.' || c == '@';
         });
}

bool IsHash(absl::string_view hash) {
  return hash.size() == kHashDigits &&
         std::all_of(hash.begin(), hash.end(), [](char c) {
           return absl::ascii_isxdigit(static_cast<unsigned char>(c));
         });
}

bool IsNamespace(absl::string_view ns) {
  return !ns.empty() && ns.size() <= 64 &&
         std::all_of(ns.begin(), ns.end(), [](char c) {
           const auto byte = static_cast<unsigned char>(c);
           return absl::ascii_islower(byte) || absl::ascii_isdigit(byte) ||
                  c == '_' || c == '-';
         });
}

class CallerChecker {
 public:
  CallerChecker(const v1::Control& control, Faults& faults)
      : control_(control), faults_(faults) {}

  void Check() {
    if (control_.callers_size() > kMaxCallers) {
      Fault("control.callers",
            absl::StrCat(control_.callers_size(), " of them; allowed are ",
                         kMaxCallers));
    }
    for (int i = 0; i < control_.callers_size(); ++i) {
      at_ = absl::StrCat("control.callers[", i, "].");
      const v1::Caller& caller = control_.callers(i);
      CheckName(caller.name());
      CheckCredential(caller);
      CheckReach(caller);
    }
  }

 private:
  void Fault(const std::string& path, absl::string_view what) {
    faults_.push_back(absl::StrCat(path, ": ", what));
  }

  void CheckUnique(absl::string_view field, const std::string& value) {
    const auto [first, fresh] =
        seen_.emplace(absl::StrCat(field, " ", value), at_);
    if (!fresh) {
      Fault(absl::StrCat(at_, field),
            absl::StrCat("is that of ", first->second, field,
                         ", too; each caller needs its own"));
    }
  }

  void CheckName(const std::string& name) {
    if (!IsName(name)) {
      return Fault(at_ + "name",
                   absl::StrCat(Quoted(name),
                                " is no name of a caller; "
                                "allowed are 1 to ",
                                kMaxNameBytes, " of A-Z a-z 0-9 _-.@"));
    }
    CheckUnique("name", name);
  }

  void CheckCredential(const v1::Caller& caller) {
    if (caller.has_key_hash() == caller.has_certificate_name()) {
      return Fault(at_ + "key_hash",
                   caller.has_key_hash()
                       ? "is set together with certificate_name; allowed is "
                         "one of them, and two callers for both"
                       : "is missing, and so is certificate_name; one of them "
                         "is required (brokerctl keygen makes a hash)");
    }
    if (caller.has_key_hash()) {
      // It could be the key itself, put here by mistake.
      if (!IsHash(caller.key_hash())) {
        return Fault(at_ + "key_hash",
                     absl::StrCat("is no SHA-256; allowed are ", kHashDigits,
                                  " hexadecimal digits (brokerctl keygen)"));
      }
      return CheckUnique("key_hash", absl::AsciiStrToLower(caller.key_hash()));
    }
    if (caller.certificate_name().empty()) {
      Fault(at_ + "certificate_name", "is empty");
    } else if (!control_.tls().has_client_ca_file()) {
      Fault(at_ + "certificate_name",
            "needs control.tls.client_ca_file, which is not set");
    }
    CheckUnique("certificate_name", caller.certificate_name());
  }

  void CheckReach(const v1::Caller& caller) {
    if (caller.roles().empty()) {
      Fault(at_ + "roles",
            "is required: some of BIND, REVOKE, SEND, READ, "
            "LISTEN, ADMIN");
    }
    for (int i = 0; i < caller.namespaces_size(); ++i) {
      if (IsNamespace(caller.namespaces(i))) continue;
      Fault(absl::StrCat(at_, "namespaces[", i, "]"),
            absl::StrCat(Quoted(caller.namespaces(i)),
                         " is no name of a namespace; allowed are 1 to 64 of "
                         "a-z 0-9 _ -"));
    }
    if (caller.has_filter()) CheckFilter(caller.filter());
    absl::Time time;
    if (caller.has_expires_at() && !ParseExpiry(caller.expires_at(), time)) {
      Fault(at_ + "expires_at",
            absl::StrCat(Quoted(caller.expires_at()),
                         R"( is no time; allowed is one such as )"
                         R"("2027-01-31T00:00:00Z")"));
    }
  }

  void CheckFilter(const std::string& text) {
    const auto predicate = CompileCallerFilter(text);
    if (!predicate.ok()) {
      return Fault(at_ + "filter", predicate.status().message());
    }
    // A ticket has none of these, and must be judged when it is minted.
    if ((*predicate)->uses_more_than_identity()) {
      Fault(at_ + "filter",
            absl::StrCat(Quoted(text),
                         " uses a field that is not of the identity; allowed "
                         "are account_id, token_hash, api_token_id, "
                         "credential, groups and labels.<key>"));
    }
  }

  const v1::Control& control_;
  Faults& faults_;
  std::string at_;
  std::map<std::string, std::string> seen_;  // field and value: place
};

Roles ToRoles(const v1::Caller& caller) {
  Roles roles;
  // The enum of the configuration has one more, that is not used.
  for (const int role : caller.roles()) roles.Add(static_cast<Role>(role - 1));
  return roles;
}

CallerPtr ToCaller(const v1::Caller& from) {
  auto caller = std::make_shared<Caller>();
  caller->name = from.name();
  caller->roles = ToRoles(from);
  caller->credential =
      from.has_key_hash()
          ? KeyCredential(absl::HexStringToBytes(from.key_hash()))
          : CertificateCredential(from.certificate_name());
  absl::Time expiry;
  if (from.has_expires_at() && ParseExpiry(from.expires_at(), expiry)) {
    caller->expires_at = expiry;
  }
  if (!from.namespaces().empty() || from.has_filter()) {
    auto reach = std::make_shared<Reach>();
    reach->namespaces.assign(from.namespaces().begin(),
                             from.namespaces().end());
    if (from.has_filter()) reach->filter = *CompileCallerFilter(from.filter());
    caller->reach = std::move(reach);
  }
  return caller;
}

}  // namespace

void CheckCallers(const v1::Control& control, Faults& faults) {
  CallerChecker(control, faults).Check();
}

CallersPtr ToCallers(const v1::Control& control) {
  if (control.callers().empty()) return nullptr;
  std::vector<CallerPtr> callers;
  for (const v1::Caller& caller : control.callers()) {
    if (caller.enabled()) callers.push_back(ToCaller(caller));
  }
  return std::make_shared<const Callers>(std::move(callers));
}

}  // namespace broker
