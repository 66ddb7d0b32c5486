#include "broker/hub/account_places.h"

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"

namespace broker {

AccountPlaces::Lease::Lease(Lease&& other) noexcept
    : places_(std::exchange(other.places_, nullptr)),
      account_(other.account_),
      holder_(other.holder_) {}

AccountPlaces::Lease& AccountPlaces::Lease::operator=(Lease&& other) noexcept {
  Release();
  places_ = std::exchange(other.places_, nullptr);
  account_ = other.account_;
  holder_ = other.holder_;
  return *this;
}

bool AccountPlaces::Lease::evicted() const {
  if (places_ == nullptr) return false;
  MutexLock lock(places_->mu_);
  return holder_->evicted;
}

void AccountPlaces::Lease::Release() {
  if (places_ == nullptr) return;
  std::exchange(places_, nullptr)->Leave(account_, holder_);
}

AccountPlaces::Joined AccountPlaces::Join(absl::string_view ns,
                                          absl::string_view account_id,
                                          uint8_t shard) {
  std::string key = absl::StrCat(ns, absl::string_view("\0", 1), account_id);
  Joined joined;
  MutexLock lock(mu_);
  Account& account = *accounts_.try_emplace(std::move(key)).first;
  Holders& holders = account.second;
  while (most_ != 0 && holders.size() >= most_) {
    if (!evict_) return joined;
    joined.shards_to_tell.push_back(holders.front().shard);
    holders.front().evicted = true;
    evicted_.splice(evicted_.end(), holders, holders.begin());
  }
  holders.push_back({shard, /*evicted=*/false});
  joined.lease = Lease(this, &account, std::prev(holders.end()));
  return joined;
}

void AccountPlaces::SetLimits(const Limits& limits) {
  MutexLock lock(mu_);
  most_ = limits.max_connections_per_account;
  evict_ = limits.account_policy == AccountPolicy::kEvictOldest;
}

void AccountPlaces::Leave(Account* account, Holders::iterator holder) {
  MutexLock lock(mu_);
  if (holder->evicted) {
    // The account may be gone: it is not looked at.
    evicted_.erase(holder);
    return;
  }
  account->second.erase(holder);
  if (account->second.empty()) {
    accounts_.erase(accounts_.find(account->first));
  }
}

}  // namespace broker
