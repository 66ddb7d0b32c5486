// Places of accounts, against a model that is a list for each account.

#include "broker/hub/account_places.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace broker {
namespace {

Limits Most(uint64_t most, AccountPolicy policy) {
  Limits limits;
  limits.max_connections_per_account = most;
  limits.account_policy = policy;
  return limits;
}

TEST(AccountPlacesTest, ALeaseGivesItsPlaceBackOnceHoweverItMoves) {
  AccountPlaces places(Most(1, AccountPolicy::kRefuse));
  AccountLease one = places.Join("ns", "a", 0).lease;
  EXPECT_TRUE(one);
  EXPECT_FALSE(places.Join("ns", "a", 0).lease);
  EXPECT_TRUE(places.Join("other", "a", 0).lease);
  EXPECT_TRUE(places.Join("ns", "b", 0).lease);
  AccountLease moved = std::move(one);
  one.Release();
  EXPECT_FALSE(places.Join("ns", "a", 0).lease);
  moved = AccountLease();
  EXPECT_TRUE(places.Join("ns", "a", 0).lease);
}

TEST(AccountPlacesTest, TheOldestGoesAndItsShardIsNamed) {
  AccountPlaces places(Most(2, AccountPolicy::kEvictOldest));
  AccountLease first = places.Join("ns", "a", 7).lease;
  AccountLease second = places.Join("ns", "a", 8).lease;
  AccountPlaces::Joined third = places.Join("ns", "a", 9);
  EXPECT_TRUE(third.lease);
  EXPECT_EQ(third.shards_to_tell, std::vector<uint8_t>{7});
  EXPECT_TRUE(first.evicted());
  EXPECT_FALSE(second.evicted());
  first.Release();
  EXPECT_EQ(places.Join("ns", "a", 1).shards_to_tell, std::vector<uint8_t>{8})
      << "an evicted one gives no place back: its place was given already";
}

TEST(AccountPlacesTest, ALowerLimitEvictsAllThatAreTooMany) {
  AccountPlaces places(Most(0, AccountPolicy::kEvictOldest));
  std::vector<AccountLease> leases;
  for (int i = 0; i < 5; ++i) {
    leases.push_back(places.Join("ns", "a", 0).lease);
  }
  places.SetLimits(Most(2, AccountPolicy::kEvictOldest));
  EXPECT_EQ(places.Join("ns", "a", 0).shards_to_tell.size(), 4u);
}

TEST(AccountPlacesTest, AgreesWithTheModel) {
  struct Holder {
    int number;
    uint8_t shard;
    AccountLease lease;
    std::string account;
  };
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](uint32_t n) { return random() % n; };
    const uint64_t most = 1 + below(3);
    AccountPolicy policy = AccountPolicy::kEvictOldest;
    AccountPlaces places(Most(most, policy));
    std::map<std::string, std::vector<int>> model;  // numbers, oldest first
    std::vector<Holder> holders;
    for (int step = 0; step < 200; ++step) {
      const std::string account(1, static_cast<char>('a' + below(2)));
      std::vector<int>& of_account = model[account];
      if (below(20) == 0) {
        policy = policy == AccountPolicy::kRefuse ? AccountPolicy::kEvictOldest
                                                  : AccountPolicy::kRefuse;
        places.SetLimits(Most(most, policy));
      } else if (below(3) != 0 || holders.empty()) {
        const auto shard = static_cast<uint8_t>(below(4));
        AccountPlaces::Joined joined = places.Join("ns", account, shard);
        const bool full = of_account.size() >= most;
        ASSERT_EQ(bool{joined.lease}, !full || policy != AccountPolicy::kRefuse)
            << "seed " << seed << " step " << step;
        if (!joined.lease) continue;
        ASSERT_EQ(joined.shards_to_tell.size(), full ? 1u : 0u);
        if (full) {
          const auto oldest = std::find_if(
              holders.begin(), holders.end(),
              [&](const Holder& h) { return h.number == of_account.front(); });
          ASSERT_EQ(joined.shards_to_tell[0], oldest->shard);
          of_account.erase(of_account.begin());
        }
        of_account.push_back(step);
        holders.push_back({step, shard, std::move(joined.lease), account});
      } else {
        const size_t i = below(static_cast<uint32_t>(holders.size()));
        std::erase(model[holders[i].account], holders[i].number);
        holders[i] = std::move(holders.back());
        holders.pop_back();
      }
      for (const Holder& h : holders) {
        const std::vector<int>& in = model[h.account];
        const bool has_place =
            std::find(in.begin(), in.end(), h.number) != in.end();
        ASSERT_EQ(h.lease.evicted(), !has_place)
            << "seed " << seed << " step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace broker
