// Caps: how many sockets, pending connections and connections of an account
// there are, over all shards, and leases that give each place back.
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
  void LeaveAccount(Holders::value_type* account);
  void LeavePending(Holders::value_type* none);

 public:
  using Socket = internal::Lease<&Caps::CloseSocket>;
  using Account = internal::Lease<&Caps::LeaveAccount>;
  using Pending = internal::Lease<&Caps::LeavePending>;

  // Beyond max_connections so many sockets more are let in, to be answered 503
  // instead of being cut off.
  static constexpr uint64_t kRefusalHeadroom = 256;

  explicit Caps(const Limits& limits) : limits_(limits) {}

  // For a socket just accepted, held until it is closed. The lease is empty
  // when there is not even room for a refusal: close it at once. Else
  // `overload` says whether its handshake must be refused.
  Socket OpenSocket(const std::string& address, SocketOverload& overload);

  // For a connection of the account in the namespace, held until it is closing.
  // Empty: the account is at its limit.
  Account JoinAccount(absl::string_view ns, absl::string_view account_id);

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
  Holders by_account_ ABSL_GUARDED_BY(mu_);
};

using SocketLease = Caps::Socket;
using AccountLease = Caps::Account;
using PendingLease = Caps::Pending;

}  // namespace broker
