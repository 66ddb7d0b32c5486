#include "broker/hub/caps.h"

#include "absl/strings/str_cat.h"

namespace broker {
namespace {

void Leave(internal::Holders& holders, internal::Holders::value_type* key) {
  if (--key->second == 0) holders.erase(holders.find(key->first));
}

}  // namespace

SocketLease Caps::OpenSocket(const std::string& address,
                             SocketOverload& overload) {
  MutexLock lock(mu_);
  if (sockets_ >= limits_.max_connections + kRefusalHeadroom) return {};
  Holders::value_type& of_address = *by_address_.try_emplace(address).first;
  overload = SocketOverload::kNone;
  if (sockets_ >= limits_.max_connections) {
    overload = SocketOverload::kTotal;
  } else if (limits_.max_connections_per_address != 0 &&
             of_address.second >= limits_.max_connections_per_address) {
    overload = SocketOverload::kAddress;
  }
  ++sockets_;
  ++of_address.second;
  return Socket(this, &of_address);
}

AccountLease Caps::JoinAccount(absl::string_view ns,
                               absl::string_view account_id) {
  std::string key = absl::StrCat(ns, absl::string_view("\0", 1), account_id);
  MutexLock lock(mu_);
  Holders::value_type& account = *by_account_.try_emplace(std::move(key)).first;
  if (limits_.max_connections_per_account != 0 &&
      account.second >= limits_.max_connections_per_account) {
    return {};
  }
  ++account.second;
  return Account(this, &account);
}

PendingLease Caps::JoinPending() {
  MutexLock lock(mu_);
  if (limits_.max_pending_connections != 0 &&
      pending_ >= limits_.max_pending_connections) {
    return {};
  }
  ++pending_;
  return Pending(this, nullptr);
}

void Caps::SetLimits(const Limits& limits) {
  MutexLock lock(mu_);
  limits_ = limits;
}

uint64_t Caps::sockets() const {
  MutexLock lock(mu_);
  return sockets_;
}

void Caps::CloseSocket(Holders::value_type* address) {
  MutexLock lock(mu_);
  --sockets_;
  Leave(by_address_, address);
}

void Caps::LeaveAccount(Holders::value_type* account) {
  MutexLock lock(mu_);
  Leave(by_account_, account);
}

void Caps::LeavePending(Holders::value_type*) {
  MutexLock lock(mu_);
  --pending_;
}

}  // namespace broker
