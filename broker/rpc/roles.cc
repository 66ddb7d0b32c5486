#include "broker/rpc/roles.h"

namespace broker {

std::string Roles::ToString() const {
  static constexpr const char* kNames[] = {"bind", "revoke", "send",
                                           "read", "listen", "admin"};
  std::string out;
  for (const Role role : kAllRoles) {
    if (!Has(role)) continue;
    if (!out.empty()) out += ", ";
    out += kNames[static_cast<int>(role)];
  }
  return out;
}

}  // namespace broker
