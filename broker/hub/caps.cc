#include "broker/hub/caps.h"

namespace broker {
namespace {

void Leave(internal::Holders& holders, internal::Holders::value_type* key) {
  if (--key->second == 0) holders.erase(holders.find(key->first));
}

}  // namespace

SocketLease Caps::OpenSocket(SocketOverload& overload) {
  MutexLock lock(mu_);
  if (sockets_ >= limits_.max_connections + kRefusalHeadroom) return {};
  overload = sockets_ >= limits_.max_connections ? SocketOverload::kTotal
                                                 : SocketOverload::kNone;
  ++sockets_;
  return Socket(this, nullptr);
}

SocketLease Caps::OpenSocket(const std::string& address,
                             SocketOverload& overload) {
  SocketLease socket = OpenSocket(overload);
  if (!socket) return socket;
  const SocketOverload of_address = NameClient(address, socket);
  if (overload == SocketOverload::kNone) overload = of_address;
  return socket;
}

SocketOverload Caps::NameClient(const std::string& address,
                                SocketLease& socket) {
  MutexLock lock(mu_);
  Holders::value_type& holders = *by_address_.try_emplace(address).first;
  const uint64_t most = limits_.max_connections_per_address;
  const bool full = most != 0 && holders.second >= most;
  ++holders.second;
  socket.SetKey(&holders);
  return full ? SocketOverload::kAddress : SocketOverload::kNone;
}

NamespaceLease Caps::JoinNamespace(const std::string& ns) {
  MutexLock lock(mu_);
  Holders::value_type& holders = *by_namespace_.try_emplace(ns).first;
  if (limits_.max_connections_per_namespace != 0 &&
      holders.second >= limits_.max_connections_per_namespace) {
    return {};
  }
  ++holders.second;
  return Namespace(this, &holders);
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
  if (address != nullptr) Leave(by_address_, address);
}

void Caps::LeaveNamespace(Holders::value_type* ns) {
  MutexLock lock(mu_);
  Leave(by_namespace_, ns);
}

void Caps::LeavePending(Holders::value_type*) {
  MutexLock lock(mu_);
  --pending_;
}

}  // namespace broker
