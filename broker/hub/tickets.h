// Tickets: the secrets that were minted and not presented yet, as hashes.
//
// Thread-safe: it is shared by the shards, and therefore locked.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "broker/core/clock.h"
#include "broker/core/identity.h"
#include "broker/core/mutex.h"
#include "broker/core/secret.h"

namespace broker {

// What a ticket carries.
struct Ticket {
  std::string ns;
  IdentityPtr identity;
  uint64_t verified_at_epoch = 0;
  MonotonicTime expires;
  std::vector<std::string> allowed_origins;  // empty: any
};

class Tickets {
 public:
  static constexpr size_t kMaxOutstanding = 100'000;

  // Keeps the ticket and returns its secret, 256 random bits. Over the limit,
  // after what has expired is dropped: RESOURCE_EXHAUSTED.
  absl::StatusOr<std::string> Mint(Ticket ticket, MonotonicTime now);

  // Takes the ticket that the secret stands for, if it may be presented here
  // and now. Of many that present the same secret one gets it. A ticket that is
  // presented in the wrong namespace or from the wrong origin stays.
  std::optional<Ticket> Take(absl::string_view secret, absl::string_view ns,
                             const std::optional<std::string>& origin,
                             MonotonicTime now);

  size_t outstanding() const;

 private:
  void DropExpired(MonotonicTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable Mutex mu_;
  // Looked up by the hash of a secret, never by the secret: the time a look-up
  // takes says nothing about secrets.
  absl::flat_hash_map<Sha256Digest, Ticket> tickets_ ABSL_GUARDED_BY(mu_);
  absl::btree_set<std::pair<MonotonicTime, Sha256Digest>> by_expiry_
      ABSL_GUARDED_BY(mu_);
};

}  // namespace broker
