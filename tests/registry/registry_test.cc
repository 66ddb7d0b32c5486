// Registry against a linear scan: random connections come, change and go, and
// every selection must find exactly what looking at all of them finds.

#include "broker/registry/registry.h"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "broker/filter/compiler.h"
#include "broker/filter/text_parser.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

PredicatePtr Where(const std::string& text) {
  return *CompileFilter(*ParseFilter(text));
}

class Model {
 public:
  explicit Model(uint32_t seed) : random_(seed) {}

  void Step() {
    const int what = Roll(10);
    if (what < 4 || all_.empty()) {
      const Slot slot = FreeSlot();
      all_[slot] = NewInfo();
      registry_.Insert(slot, all_[slot]);
    } else if (what < 7) {
      const Slot slot = AnySlot();
      auto changed = std::make_shared<ConnectionInfo>(*all_[slot]);
      if (Roll(4) == 0) {
        changed->identity = NewIdentity();
      } else if (changed->identity != nullptr) {
        changed->identity = Updated(*changed->identity);
      }
      if (Roll(2) == 0) changed->state = static_cast<ConnectionState>(Roll(3));
      all_[slot] = changed;
      registry_.Replace(slot, changed);
    } else {
      const Slot slot = AnySlot();
      registry_.Erase(slot);
      all_.erase(slot);
    }
  }

  void Check() {
    const std::string& text = kFilters[Roll(kFilters.size())];
    const PredicatePtr predicate = Compiled(text);
    const States states = RandomStates();
    const std::optional<std::string> ns =
        Roll(3) == 0 ? std::nullopt : std::optional(kNamespaces[Roll(2)]);
    std::vector<Slot> found;
    registry_.Select(ns, *predicate, states, found);
    EXPECT_TRUE(Same(found, [&](const ConnectionInfo& c) {
      return (!ns || c.ns == *ns) && states.Has(c.state) &&
             predicate->Matches(c);
    })) << text;
    CheckTarget(states);
    CheckPages(*predicate, states);
  }

 private:
  static inline const std::vector<std::string> kNamespaces = {"default", "b"};
  static inline const std::vector<std::string> kFilters = {
      "",
      "account_id = a1",
      "account_id = a1 OR groups:g2",
      "groups:g1 OR groups:g2 OR groups:g3",
      "groups:g1 AND NOT groups:g2",
      "groups:g0",
      "groups:g3 AND account_id = a0",
      "token_hash = s1",
      "api_token_id IN (t1, t2)",
      "NOT account_id = a1",
      "labels.x = 1 AND account_id = a2",
      "labels.x = 1",
      "credential = DAEMON",
      "account_id = nobody",
      "token_hash:*"};

  static PredicatePtr Compiled(const std::string& text) {
    return text.empty() ? Predicate::All() : Where(text);
  }
  PredicatePtr RandomFilter() {
    return Compiled(kFilters[Roll(kFilters.size())]);
  }

  void CheckTarget(States states) {
    RevocationTarget target;
    target.kind = static_cast<RevocationTarget::Kind>(Roll(4));
    target.predicate = RandomFilter();
    target.key = std::string(1, "sat-"[static_cast<int>(target.kind)]) +
                 std::to_string(Roll(3));
    if (target.kind == RevocationTarget::Kind::kAccount && Roll(2) == 0) {
      target.keep_token_hash = "s" + std::to_string(Roll(3));
    }
    if (Roll(2) == 0) target.namespaces.push_back(kNamespaces[Roll(2)]);
    if (Roll(4) == 0) target.namespaces.push_back(kNamespaces[Roll(2)]);
    if (Roll(3) == 0) target.within = RandomFilter();
    std::vector<Slot> found;
    registry_.Select(target, states, found);
    EXPECT_TRUE(Same(found, [&](const ConnectionInfo& c) {
      return states.Has(c.state) && target.Covers(c);
    })) << target.key;
  }

  void CheckPages(const Predicate& predicate, States states) {
    std::vector<ConnectionId> expected;
    for (const auto& [slot, info] : all_) {
      if (info->ns == "default" && states.Has(info->state) &&
          predicate.Matches(*info)) {
        expected.push_back(info->id);
      }
    }
    std::sort(expected.begin(), expected.end());
    std::vector<ConnectionId> paged;
    while (true) {
      const auto page =
          registry_.Page("default", predicate, states,
                         paged.empty() ? ConnectionId() : paged.back(), 3);
      if (page.empty()) break;
      for (const auto& info : page) paged.push_back(info->id);
    }
    EXPECT_EQ(paged, expected);
  }

  template <typename F>
  ::testing::AssertionResult Same(std::vector<Slot> found, F fits) {
    std::vector<Slot> expected;
    for (const auto& [slot, info] : all_) {
      if (fits(*info)) expected.push_back(slot);
    }
    std::sort(found.begin(), found.end());
    if (found == expected) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure()
           << "found " << found.size() << ", not " << expected.size();
  }

  int Roll(size_t sides) {
    return static_cast<int>(random_() % static_cast<uint32_t>(sides));
  }
  Slot FreeSlot() {
    Slot slot = 0;
    while (all_.count(slot) != 0) ++slot;
    return slot;
  }
  Slot AnySlot() { return std::next(all_.begin(), Roll(all_.size()))->first; }
  States RandomStates() {
    States states;
    for (int s = 0; s < 3; ++s) {
      if (Roll(2) == 0) states.Add(static_cast<ConnectionState>(s));
    }
    return states;
  }
  IdentityPtr NewIdentity() {
    if (Roll(5) == 0) return nullptr;
    IdentityFields identity;
    identity.account_id = "a" + std::to_string(Roll(3));
    if (Roll(3) == 0)
      identity.token_hash = "s" + std::to_string(Roll(3));
    else if (Roll(2) == 0)
      identity.api_token_id = "t" + std::to_string(Roll(3));
    for (int g = 0; g < 4; ++g) {
      if (Roll(2) == 0) identity.groups.push_back("g" + std::to_string(g));
    }
    if (Roll(2) == 0) identity.labels = {{"x", std::to_string(Roll(2))}};
    return Identity::Make(identity);
  }
  // What an update does: some groups less, some more, other labels.
  IdentityPtr Updated(const Identity& before) {
    IdentityFields identity = before.fields();
    std::set<std::string> groups(identity.groups.begin(),
                                 identity.groups.end());
    for (int i = Roll(3); i > 0; --i) {
      const std::string group = "g" + std::to_string(Roll(4));
      if (groups.erase(group) == 0) groups.insert(group);
    }
    identity.groups.assign(groups.begin(), groups.end());
    if (Roll(2) == 0) identity.labels = {{"x", std::to_string(Roll(2))}};
    return Identity::Make(identity);
  }
  ConnectionInfoPtr NewInfo() {
    auto info = std::make_shared<ConnectionInfo>();
    info->id = Uuid::Make(absl::FromUnixSeconds(1'800'000'000));
    info->ns = kNamespaces[Roll(2)];
    info->state = static_cast<ConnectionState>(Roll(3));
    info->identity = NewIdentity();
    return info;
  }

  std::mt19937 random_;
  Registry registry_;
  std::map<Slot, ConnectionInfoPtr> all_;
};

TEST(RegistryTest, FindsWhatALinearScanFinds) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Model model(seed);
    for (int i = 0; i < 300; ++i) {
      model.Step();
      model.Check();
      if (::testing::Test::HasFailure()) return;
    }
  }
}

// The order within an index tells who left it and came again.
TEST(RegistryTest, AnUpdateLeavesAloneWhatItDoesNotChange) {
  Registry registry;
  IdentityFields identity;
  identity.account_id = "a";
  identity.token_hash = "s";
  identity.groups = {"g1", "g2", "g3"};
  ConnectionInfo info;
  info.ns = "default";
  info.state = ConnectionState::kAdmitted;
  info.identity = Identity::Make(identity);
  for (Slot slot = 0; slot < 4; ++slot) {
    info.id = Uuid::Make(absl::Now());
    registry.Insert(slot, std::make_shared<ConnectionInfo>(info));
  }
  IdentityFields updated = identity;
  updated.groups = {"g1", "g3", "g4"};
  updated.labels = {{"x", "1"}};
  auto changed = std::make_shared<ConnectionInfo>(*registry.Get(1));
  changed->identity = Identity::Make(updated);
  registry.Replace(1, changed);

  const auto found = [&](const std::string& filter) {
    std::vector<Slot> slots;
    registry.Select(std::nullopt, *Where(filter), States::All(), slots);
    return slots;
  };
  using Slots = std::vector<Slot>;
  const Slots untouched = {0, 1, 2, 3};
  for (const char* filter :
       {"account_id = a", "token_hash = s", "groups:g1", "groups:g3"}) {
    EXPECT_EQ(found(filter), untouched) << filter;
  }
  EXPECT_EQ(registry.InState("default", ConnectionState::kAdmitted), untouched);
  EXPECT_EQ(found("groups:g2"), (Slots{0, 3, 2}));
  EXPECT_EQ(found("groups:g4"), Slots{1});
}

TEST(RegistryTest, FindsByIdInAnyNamespaceUntilErased) {
  Registry registry;
  auto info = std::make_shared<ConnectionInfo>();
  info->id = Uuid::Make(absl::Now());
  info->ns = "other";
  registry.Insert(5, info);
  EXPECT_EQ(registry.Find(info->id), 5u);
  EXPECT_TRUE(registry.Has(5));
  EXPECT_EQ(registry.CountByNamespace(nullptr).at("other").pending, 1u);
  registry.Erase(5);
  EXPECT_EQ(registry.Find(info->id), std::nullopt);
  EXPECT_FALSE(registry.Has(5));
  EXPECT_EQ(registry.size(), 0u);
}

}  // namespace
}  // namespace broker
