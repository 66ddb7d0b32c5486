// AccountPlaces: the connections that each account has in each namespace, over
// all shards, oldest first, and leases that give each place back.
//
// When an account is full its oldest connection may have to go. Its place is
// given away here, under the lock, at once and once; to close it is left to the
// shard that owns it, which is told, and which asks the lease. So two shards
// never evict the same connection, and no count is ever over the limit.
//
// Thread-safe: it is shared by the shards, and therefore locked.

#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "absl/container/node_hash_map.h"
#include "absl/strings/string_view.h"
#include "broker/core/mutex.h"
#include "broker/hub/settings.h"

namespace broker {

class AccountPlaces {
 private:
  struct Holder {
    uint8_t shard;
    bool evicted;
  };
  using Holders = std::list<Holder>;  // oldest first
  using Account = absl::node_hash_map<std::string, Holders>::value_type;

 public:
  // A place; moves like the right to it.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept;
    Lease& operator=(Lease&& other) noexcept;
    ~Lease() { Release(); }

    explicit operator bool() const { return places_ != nullptr; }
    // Whether another connection has the place by now.
    bool evicted() const;
    void Release();

   private:
    friend class AccountPlaces;
    Lease(AccountPlaces* places, Account* account, Holders::iterator holder)
        : places_(places), account_(account), holder_(holder) {}

    AccountPlaces* places_ = nullptr;
    Account* account_ = nullptr;
    Holders::iterator holder_;
  };

  struct Joined {
    Lease lease;  // empty: the account is full
    // Those that have a connection to close, some twice.
    std::vector<uint8_t> shards_to_tell;
  };

  explicit AccountPlaces(const Limits& limits) { SetLimits(limits); }

  // A place for a connection of that shard, held until it is closing.
  Joined Join(absl::string_view ns, absl::string_view account_id,
              uint8_t shard);

  void SetLimits(const Limits& limits);

 private:
  void Leave(Account* account, Holders::iterator holder);

  mutable Mutex mu_;
  uint64_t most_ ABSL_GUARDED_BY(mu_) = 0;  // 0: no limit
  bool evict_ ABSL_GUARDED_BY(mu_) = false;
  absl::node_hash_map<std::string, Holders> accounts_ ABSL_GUARDED_BY(mu_);
  Holders evicted_ ABSL_GUARDED_BY(mu_);  // who does not know it yet
};

using AccountLease = AccountPlaces::Lease;

}  // namespace broker
