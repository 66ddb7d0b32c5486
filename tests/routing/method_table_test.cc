#include "broker/routing/method_table.h"

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<uint64_t> Takers(const MethodTable& table,
                             const std::string& method) {
  return table.Find(method, [](uint64_t) { return true; }).services;
}

TEST(MethodTableTest, TheMostSpecificPatternDecides) {
  MethodTable table;
  table.Add(1, {"*"});
  table.Add(2, {"orders.*"});
  table.Add(3, {"orders.create", "orders.*"});
  table.Add(4, {"orders.create.*"});
  EXPECT_THAT(Takers(table, "orders.create"), ElementsAre(3));
  EXPECT_THAT(Takers(table, "orders.create.now"), ElementsAre(4));
  EXPECT_THAT(Takers(table, "orders.list"), ElementsAre(2, 3));
  EXPECT_THAT(Takers(table, "orders."), ElementsAre(2, 3));
  EXPECT_THAT(Takers(table, "orders"), ElementsAre(1));
  EXPECT_THAT(Takers(table, ""), ElementsAre(1));
}

TEST(MethodTableTest, WhoDoesNotAcceptIsPassedOver) {
  MethodTable table;
  table.Add(1, {"*"});
  table.Add(2, {"a.*"});
  const auto match = table.Find("a.b", [](uint64_t s) { return s != 2; });
  EXPECT_THAT(match.services, ElementsAre(1));
  EXPECT_EQ(match.pattern, "*");
}

TEST(MethodTableTest, AMethodWithAStarIsNoPattern) {
  MethodTable table;
  table.Add(1, {"a.*"});
  EXPECT_THAT(Takers(table, "a.*"), ElementsAre(1));
  table.Add(2, {"a.*b*"});
  EXPECT_THAT(Takers(table, "a.*b"), ElementsAre(2));
}

TEST(MethodTableTest, NobodyTakesWhatNobodyNamed) {
  MethodTable table;
  EXPECT_THAT(Takers(table, "a"), IsEmpty());
  table.Add(1, {"a"});
  table.Remove(1);
  EXPECT_TRUE(table.empty());
  EXPECT_THAT(Takers(table, "a"), IsEmpty());
}

// ---- against a scan over all patterns -------------------------------------

// The rank of a pattern for a method; 0: it does not match.
size_t Rank(const std::string& pattern, const std::string& method) {
  if (pattern.back() != '*') return pattern == method ? 1'000 : 0;
  const std::string prefix = pattern.substr(0, pattern.size() - 1);
  return absl::StartsWith(method, prefix) ? pattern.size() : 0;
}

TEST(MethodTableTest, FindsWhatAScanFinds) {
  std::mt19937 random(20261126);
  const auto pick = [&](size_t n) { return random() % n; };
  const auto name = [&] {
    std::string text;
    const size_t length = 1 + pick(4);
    for (size_t i = 0; i < length; ++i) text += "ab."[pick(3)];
    return text;
  };
  MethodTable table;
  std::map<uint64_t, std::vector<std::string>> model;
  uint64_t next = 1;
  for (int step = 0; step < 20'000; ++step) {
    if (pick(3) == 0 && model.size() < 20) {
      std::vector<std::string> patterns;
      for (size_t i = 0; i <= pick(4); ++i) {
        patterns.push_back(name());
        if (pick(2) == 0) patterns.back().back() = '*';
      }
      table.Add(next, patterns);
      model[next++] = patterns;
    } else if (pick(3) == 0 && !model.empty()) {
      const auto gone = std::next(model.begin(), pick(model.size()));
      table.Remove(gone->first);
      model.erase(gone);
    }
    const std::string method = name();
    const uint64_t refused = pick(next);
    size_t best = 0;
    std::vector<uint64_t> expected;
    for (const auto& [service, patterns] : model) {
      if (service == refused) continue;
      size_t rank = 0;
      for (const auto& p : patterns) rank = std::max(rank, Rank(p, method));
      if (rank > best) expected.clear();
      best = std::max(best, rank);
      if (rank == best && rank > 0) expected.push_back(service);
    }
    ASSERT_EQ(
        table.Find(method, [&](uint64_t s) { return s != refused; }).services,
        expected)
        << method;
  }
}

}  // namespace
}  // namespace broker
