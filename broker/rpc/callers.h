// Caller: who calls the API, and what they may do and reach. Callers: all who
// may call, by what they prove themselves with.
//
// Immutable once shared, and then thread-safe: a reload makes new ones.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "broker/registry/reach.h"
#include "broker/rpc/roles.h"

namespace broker {

struct Caller {
  // Of the audit, and what request_ids are scoped to. No two have the same.
  std::string name;
  Roles roles;
  ReachPtr reach;                        // null: everything
  std::optional<absl::Time> expires_at;  // unset: never
  // What it proves itself with: KeyCredential, CertificateCredential, or empty
  // for who need not.
  std::string credential;

  // OK, or PERMISSION_DENIED that names the method and the roles.
  absl::Status CheckRole(const Rule& rule) const;
  // PERMISSION_DENIED for a namespace out of reach, whether or not there is
  // such a namespace.
  absl::Status CheckNamespace(absl::string_view field,
                              absl::string_view ns) const;
  // PERMISSION_DENIED for a connection, as it is or would be, out of reach.
  absl::Status CheckReach(const ConnectionInfo& connection) const;

  // The filter of its reach; null when there is none.
  PredicatePtr filter() const;
  // The namespaces of its reach; empty: every one.
  std::vector<std::string> namespaces() const;
};

using CallerPtr = std::shared_ptr<const Caller>;

// May do everything: who calls while nobody must prove anything.
const CallerPtr& AnonymousCaller();

// `hash`: the SHA-256 of a key, 32 bytes.
std::string KeyCredential(absl::string_view hash);
// `name`: a subject alternative name, or the common name.
std::string CertificateCredential(absl::string_view name);

class Callers {
 public:
  explicit Callers(std::vector<CallerPtr> callers);

  // Null when there is none.
  CallerPtr Find(const std::string& credential) const;

 private:
  // Looked up by the hash of a key, never by the key: the time it takes says
  // nothing about keys.
  absl::flat_hash_map<std::string, CallerPtr> by_credential_;
};

using CallersPtr = std::shared_ptr<const Callers>;

}  // namespace broker
