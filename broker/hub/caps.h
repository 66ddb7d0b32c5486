// Caps: how many sockets, connections of a namespace and pending connections
// there are, over all shards, and leases that give each place back. Those of an
// account: AccountPlaces.
//
// Thread-safe: it is shared by the shards, and therefore locked.

#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/container/node_hash_map.h"
#include "absl/strings/string_view.h"
#include "broker/core/mutex.h"
#include "broker/hub/settings.h"

namespace broker {

class Caps;

enum class SocketOverload { kNone, kTotal, kAddress };

namespace internal {
// How many hold a place under each key. Their addresses last.
using Holders = absl::node_hash_map<std::string, uint64_t>;

// A place under one of the caps; moves like the right to it. Every connection
// keeps some for life: it names its key by where that is.
template <void (Caps::*kRelease)(Holders::value_type*)>
class Lease {
 public:
  Lease() = default;
  Lease(Caps* caps, Holders::value_type* key) : caps_(caps), key_(key) {}
  Lease(Lease&& other) noexcept
      : caps_(std::exchange(other.caps_, nullptr)), key_(other.key_) {}
  Lease& operator=(Lease&& other) noexcept {
    Release();
    caps_ = std::exchange(other.caps_, nullptr);
    key_ = other.key_;
    return *this;
  }
  ~Lease() { Release(); }

  explicit operator bool() const { return caps_ != nullptr; }
  // The key, given later than the place.
  void SetKey(Holders::value_type* key) { key_ = key; }
  void Release() {
    if (caps_ != nullptr) (std::exchange(caps_, nullptr)->*kRelease)(key_);
  }

 private:
  Caps* caps_ = nullptr;
  Holders::value_type* key_ = nullptr;  // null: that cap has no keys
};
}  // namespace internal

class Caps {
 private:
  using Holders = internal::Holders;
  void CloseSocket(Holders::value_type* address);
  void LeaveNamespace(Holders::value_type* ns);
  void LeavePending(Holders::value_type* none);

 public:
  using Socket = internal::Lease<&Caps::CloseSocket>;
  using Namespace = internal::Lease<&Caps::LeaveNamespace>;
  using Pending = internal::Lease<&Caps::LeavePending>;

  // Beyond max_connections so many sockets more are let in, to be answered 503
  // instead of being cut off.
  static constexpr uint64_t kRefusalHeadroom = 256;

  explicit Caps(const Limits& limits) : limits_(limits) {}

  // For a socket just accepted, held until it is closed. The lease is empty
  // when there is not even room for a refusal: close it at once. Else
  // `overload` says whether its handshake must be refused.
  Socket OpenSocket(const std::string& address, SocketOverload& overload);
  // The same for a socket of a trusted proxy, whose client is not known yet.
  Socket OpenSocket(SocketOverload& overload);
  // And now it is. Once for each socket.
  SocketOverload NameClient(const std::string& address, Socket& socket);

  // For a connection of the namespace, held until it is closing. Empty: the
  // namespace is at its limit.
  Namespace JoinNamespace(const std::string& ns);

  // For a pending connection. Empty: the limit is reached.
  Pending JoinPending();

  void SetLimits(const Limits& limits);
  uint64_t sockets() const;

 private:
  mutable Mutex mu_;
  Limits limits_ ABSL_GUARDED_BY(mu_);
  uint64_t sockets_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t pending_ ABSL_GUARDED_BY(mu_) = 0;
  Holders by_address_ ABSL_GUARDED_BY(mu_);
  Holders by_namespace_ ABSL_GUARDED_BY(mu_);
};

using SocketLease = Caps::Socket;
using NamespaceLease = Caps::Namespace;
using PendingLease = Caps::Pending;

}  // namespace broker
