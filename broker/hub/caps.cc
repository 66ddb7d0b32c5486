#include "broker/hub/caps.h"

#include "absl/strings/str_cat.h"

namespace broker {
namespace {

void Decrement(absl::flat_hash_map<std::string, uint64_t>& counts,
               const std::string& key) {
  const auto it = counts.find(key);
  if (--it->second == 0) counts.erase(it);
}

}  // namespace

SocketLease Caps::OpenSocket(const std::string& address,
                             SocketOverload& overload) {
  MutexLock lock(mu_);
  if (sockets_ >= limits_.max_connections + kRefusalHeadroom) return {};
  uint64_t& of_address = by_address_[address];
  overload = SocketOverload::kNone;
  if (sockets_ >= limits_.max_connections) {
    overload = SocketOverload::kTotal;
  } else if (limits_.max_connections_per_address != 0 &&
             of_address >= limits_.max_connections_per_address) {
    overload = SocketOverload::kAddress;
  }
  ++sockets_;
  ++of_address;
  return Socket(this, address);
}

AccountLease Caps::JoinAccount(absl::string_view ns,
                               absl::string_view account_id) {
  std::string key = absl::StrCat(ns, absl::string_view("\0", 1), account_id);
  MutexLock lock(mu_);
  uint64_t& count = by_account_[key];
  if (limits_.max_connections_per_account != 0 &&
      count >= limits_.max_connections_per_account) {
    return {};
  }
  ++count;
  return Account(this, std::move(key));
}

PendingLease Caps::JoinPending() {
  MutexLock lock(mu_);
  if (limits_.max_pending_connections != 0 &&
      pending_ >= limits_.max_pending_connections) {
    return {};
  }
  ++pending_;
  return Pending(this, "");
}

void Caps::SetLimits(const Limits& limits) {
  MutexLock lock(mu_);
  limits_ = limits;
}

uint64_t Caps::sockets() const {
  MutexLock lock(mu_);
  return sockets_;
}

void Caps::CloseSocket(const std::string& address) {
  MutexLock lock(mu_);
  --sockets_;
  Decrement(by_address_, address);
}

void Caps::LeaveAccount(const std::string& key) {
  MutexLock lock(mu_);
  Decrement(by_account_, key);
}

void Caps::LeavePending(const std::string&) {
  MutexLock lock(mu_);
  --pending_;
}

}  // namespace broker
