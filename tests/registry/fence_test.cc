// FenceSet against a list: fences come, block, cease to, and are taken away,
// and every question must be answered as by asking all of them.

#include "broker/registry/fence.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "broker/filter/compiler.h"
#include "broker/filter/text_parser.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

using Kind = RevocationTarget::Kind;
using std::chrono::seconds;

class Model {
 public:
  explicit Model(uint32_t seed) : random_(seed) {}

  void Step() {
    switch (Roll(8)) {
      case 0:
        now_ += seconds(Roll(4));
        break;
      case 1:
      case 2:
        Remove();
        break;
      default:
        Add();
    }
    ASSERT_EQ(set_.size(), all_.size());
  }

  void Check() {
    const ConnectionInfo before = AnyConnection();
    ConnectionInfo after = before;
    after.identity = AnyIdentity();
    const uint64_t verified = AnyEpoch();

    const Fence* refusing = set_.FindRefusing(after, verified, now_);
    ExpectFound(refusing, [&](const Fence& f) {
      return f.Refuses(after, verified, now_);
    });
    const Fence* entered = set_.FindFilterEntered(before, after, now_);
    ExpectFound(entered, [&](const Fence& f) {
      return f.target.kind == Kind::kFilter && now_ < *f.blocks_until &&
             f.target.Covers(after) && !f.target.Covers(before);
    });
    refusals_ += refusing != nullptr;
    entries_ += entered != nullptr;
  }

  int refusals() const { return refusals_; }
  int entries() const { return entries_; }

 private:
  // One of those that `is_it` says yes for, or null when there is none.
  template <typename F>
  void ExpectFound(const Fence* found, F is_it) {
    const auto same = [&](const FencePtr& f) { return f.get() == found; };
    if (found == nullptr) {
      EXPECT_TRUE(std::none_of(all_.begin(), all_.end(),
                               [&](const auto& f) { return is_it(*f); }));
    } else {
      EXPECT_TRUE(std::any_of(all_.begin(), all_.end(), same));
      EXPECT_TRUE(is_it(*found));
    }
  }

  void Add() {
    auto fence = std::make_shared<Fence>();
    fence->target.kind = static_cast<Kind>(Roll(4));
    const bool by_filter = fence->target.kind == Kind::kFilter;
    if (by_filter) {
      fence->target.predicate = filters_[Roll(filters_.size())];
    } else {
      fence->target.key = std::to_string(Roll(2));
    }
    if (fence->target.kind == Kind::kAccount && Roll(3) == 0) {
      fence->target.keep_token_hash = std::to_string(Roll(2));
    }
    if (Roll(3) == 0) fence->target.namespaces = {AnyNamespace()};
    // Shards may hear of them in another order.
    do {
      fence->epoch = 1 + Roll(1'000);
    } while (std::any_of(all_.begin(), all_.end(), [&](const auto& f) {
      return f->epoch == fence->epoch;
    }));
    if (by_filter || Roll(3) == 0)
      fence->blocks_until = now_ + seconds(Roll(9));
    all_.push_back(fence);
    set_.Add(fence);
  }

  void Remove() {
    if (all_.empty()) return;
    const size_t at = Roll(all_.size());
    set_.Remove(*all_[at]);
    set_.Remove(*all_[at]);  // It is gone already.
    all_.erase(all_.begin() + static_cast<ptrdiff_t>(at));
  }

  ConnectionInfo AnyConnection() {
    ConnectionInfo info;
    info.ns = AnyNamespace();
    info.identity = AnyIdentity();
    return info;
  }
  IdentityPtr AnyIdentity() {
    IdentityFields fields;
    fields.account_id = std::to_string(Roll(3));
    const size_t credential = Roll(3);
    if (credential == 0) fields.token_hash = std::to_string(Roll(3));
    if (credential == 1) fields.api_token_id = std::to_string(Roll(3));
    if (Roll(2) == 0) fields.labels = {{"l", std::to_string(Roll(3))}};
    return Identity::Make(fields);
  }
  std::string AnyNamespace() { return Roll(2) == 0 ? "n0" : "n1"; }
  // The edge of a fence, more often than not.
  uint64_t AnyEpoch() {
    if (all_.empty() || Roll(3) == 0) return Roll(1'002);
    return all_[Roll(all_.size())]->epoch - Roll(2);
  }
  size_t Roll(size_t n) { return random_() % n; }

  std::mt19937 random_;
  const std::vector<PredicatePtr> filters_ = {
      *CompileFilter(*ParseFilter("labels.l = \"0\"")),
      *CompileFilter(*ParseFilter("NOT labels.l = \"1\"")),
      *CompileFilter(*ParseFilter("account_id = \"0\" AND token_hash:*"))};
  MonotonicTime now_{seconds(1'000)};
  FenceSet set_;
  std::vector<FencePtr> all_;
  int refusals_ = 0;
  int entries_ = 0;
};

TEST(FenceSetTest, FindsWhatAListFinds) {
  int refusals = 0;
  int entries = 0;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    Model model(seed);
    for (int i = 0; i < 60; ++i) {
      model.Step();
      for (int j = 0; j < 4; ++j) model.Check();
      ASSERT_FALSE(::testing::Test::HasFailure()) << "seed " << seed;
    }
    refusals += model.refusals();
    entries += model.entries();
  }
  // Both answers are there, often.
  EXPECT_GT(refusals, 10'000);
  EXPECT_LT(refusals, 62'000);
  EXPECT_GT(entries, 5'000);
}

}  // namespace
}  // namespace broker
