// TicketMisses: which client addresses have presented so many bad tickets that
// they must wait. An IPv6 client is known by its /64, since it has all of that.
//
// Thread-safe: it is shared by the shards, and therefore locked.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "broker/core/clock.h"
#include "broker/core/mutex.h"

namespace broker {

class TicketMisses {
 public:
  // With more than this, who has the least to answer for is forgotten.
  static constexpr size_t kMaxAddresses = 65'536;

  // So many at once and in a minute; 0: no limit.
  explicit TicketMisses(uint64_t per_minute) { SetLimit(per_minute); }

  // The seconds that the address must wait before it presents another ticket,
  // good or bad; 0: none.
  int RetryAfter(absl::string_view address, MonotonicTime now) const;
  void Add(absl::string_view address, MonotonicTime now);

  void SetLimit(uint64_t per_minute);
  size_t addresses() const;

 private:
  mutable Mutex mu_;
  uint64_t per_minute_ ABSL_GUARDED_BY(mu_) = 0;
  // When all is forgiven: a miss moves it by the share of a minute that it
  // costs, so that it is at most about a minute away.
  absl::flat_hash_map<std::string, MonotonicTime> forgiven_
      ABSL_GUARDED_BY(mu_);
  absl::btree_set<std::pair<MonotonicTime, std::string>> by_time_
      ABSL_GUARDED_BY(mu_);
};

}  // namespace broker
