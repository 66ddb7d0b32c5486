// What a caller may be allowed to do, and which RPC wants what. Every method of
// SocketBroker has its rule here; one without does not compile.
//
// Constants and pure functions, for any thread.

#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace broker {

enum class Role : uint8_t { kBind, kRevoke, kSend, kRead, kListen, kAdmin };
inline constexpr Role kAllRoles[] = {Role::kBind, Role::kRevoke, Role::kSend,
                                     Role::kRead, Role::kListen, Role::kAdmin};

class Roles {
 public:
  constexpr Roles() = default;
  constexpr Roles(std::initializer_list<Role> roles) {
    for (const Role role : roles) Add(role);
  }
  static constexpr Roles Any() {
    Roles all;
    for (const Role role : kAllRoles) all.Add(role);
    return all;
  }
  constexpr void Add(Role role) { bits_ |= 1u << static_cast<int>(role); }
  constexpr bool Has(Role role) const {
    return (bits_ >> static_cast<int>(role)) & 1u;
  }
  constexpr bool empty() const { return bits_ == 0; }
  // Whether a caller with these may do what wants one of `wanted`. An admin may
  // do everything.
  constexpr bool Allow(Roles wanted) const {
    return Has(Role::kAdmin) || (bits_ & wanted.bits_) != 0;
  }
  // "bind, revoke": in the order of the enum.
  std::string ToString() const;

 private:
  unsigned bits_ = 0;
};

// What a call does, as the audit sees it.
enum class Effect : uint8_t { kLooks, kSends, kChanges };

// One of the roles suffices.
struct Rule {
  std::string_view method;
  Roles roles;
  Effect effect;
};

inline constexpr Rule kRules[] = {
    {"AddConnection", {Role::kBind}, Effect::kChanges},
    {"AdmitConnection", {Role::kBind}, Effect::kChanges},
    {"UpdateConnection", {Role::kBind}, Effect::kChanges},
    {"UpdateConnectionsFiltered", {Role::kBind}, Effect::kChanges},
    {"RemoveConnection", {Role::kBind}, Effect::kChanges},
    {"CreateTicket", {Role::kBind}, Effect::kChanges},
    {"CloseSocketsForSession", {Role::kRevoke}, Effect::kChanges},
    {"CloseSocketsForAccount", {Role::kRevoke}, Effect::kChanges},
    {"CloseSocketsForToken", {Role::kRevoke}, Effect::kChanges},
    {"CloseSocketsFiltered", {Role::kRevoke}, Effect::kChanges},
    {"ListRevocations", {Role::kRevoke, Role::kRead}, Effect::kLooks},
    // It lets in what a revocation keeps out.
    {"LiftRevocation", {Role::kAdmin}, Effect::kChanges},
    {"Send", {Role::kSend}, Effect::kSends},
    {"SendToConnection", {Role::kSend}, Effect::kSends},
    {"SendToAccount", {Role::kSend}, Effect::kSends},
    {"BroadcastFiltered", {Role::kSend}, Effect::kSends},
    // Each item is held against the rule of its own call.
    {"Publish", {Role::kSend, Role::kBind, Role::kRevoke}, Effect::kSends},
    {"RequestConnection", {Role::kSend}, Effect::kSends},
    {"RequestFiltered", {Role::kSend}, Effect::kSends},
    {"GetConnection", {Role::kRead}, Effect::kLooks},
    {"ListConnections", {Role::kRead}, Effect::kLooks},
    {"CountConnections", {Role::kRead}, Effect::kLooks},
    {"WatchConnections", {Role::kRead}, Effect::kLooks},
    {"Attach", {Role::kListen}, Effect::kLooks},
    // The epoch, which everybody needs who binds.
    {"GetBrokerInfo", Roles::Any(), Effect::kLooks},
};

constexpr const Rule* FindRule(std::string_view method) {
  for (const Rule& rule : kRules) {
    if (rule.method == method) return &rule;
  }
  return nullptr;
}

// Of a constant: a method that has no rule does not compile.
template <size_t N>
consteval const Rule& RuleFor(const char (&method)[N]) {
  return *FindRule(std::string_view(method, N - 1));
}

}  // namespace broker
