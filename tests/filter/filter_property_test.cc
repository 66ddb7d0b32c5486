// Random filters against random connections: the compiled predicate, and the
// one that went through the text form, answer as a dumb evaluator that walks
// the message does; and pins are necessary conditions.

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <random>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "broker/filter/compiler.h"
#include "broker/filter/text_parser.h"
#include "broker/filter/text_writer.h"
#include "tests/filter/filter_testing.h"

namespace broker {
namespace {

using namespace filter_testing;

constexpr uint32_t kSeed = 20261125;
constexpr int kTrees = 4000;
constexpr int kConnections = 60;

// --- The dumb evaluator. It shares no code with broker/filter. ---

// What a connection has in a field: nothing, one value, or several (groups).
// Times are in microseconds with leading zeros, so that they sort as text.
std::vector<std::string> ValuesOf(const std::string& field,
                                  const ConnectionInfo& c) {
  if (field == "connection_id") return {c.id.ToString()};
  if (field == "endpoint") return {c.endpoint};
  if (field == "remote_address") return {c.remote_address};
  if (field == "connect_time") {
    const auto micros = std::to_string(absl::ToUnixMicros(c.connect_time));
    return {std::string(20 - micros.size(), '0') + micros};
  }
  if (!c.identity) return {};
  const IdentityFields identity = c.identity->fields();
  if (field == "account_id") return {identity.account_id};
  if (field == "groups") return identity.groups;
  if (field == "token_hash") {
    if (identity.token_hash) return {*identity.token_hash};
    return {};
  }
  if (field == "api_token_id") {
    if (identity.api_token_id) return {*identity.api_token_id};
    return {};
  }
  if (field == "credential") {
    if (identity.token_hash) return {"SESSION"};
    if (identity.api_token_id) return {"TOKEN"};
    return {"DAEMON"};
  }
  for (const auto& [key, value] : identity.labels) {
    if (field == "labels." + key) return {value};
  }
  return {};
}

// The form in which ValuesOf gives such a value.
std::string Normal(const std::string& field, const std::string& value) {
  if (field == "connection_id") return absl::AsciiStrToLower(value);
  if (field != "connect_time") return value;
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, value, &time, &error));
  const auto micros = std::to_string(absl::ToUnixMicros(time));
  return std::string(20 - micros.size(), '0') + micros;
}

bool Holds(const std::string& have, FilterComparison::Operator op,
           const std::string& want) {
  const bool longer = have.size() >= want.size();
  switch (op) {
    case FilterComparison::OPERATOR_EQ:
      return have == want;
    case FilterComparison::OPERATOR_LT:
      return have < want;
    case FilterComparison::OPERATOR_LE:
      return have <= want;
    case FilterComparison::OPERATOR_GT:
      return have > want;
    case FilterComparison::OPERATOR_GE:
      return have >= want;
    case FilterComparison::OPERATOR_PREFIX:
      return longer && have.substr(0, want.size()) == want;
    case FilterComparison::OPERATOR_SUFFIX:
      return longer && have.substr(have.size() - want.size()) == want;
    case FilterComparison::OPERATOR_CONTAINS:
      return have.find(want) != std::string::npos;
    default:
      ADD_FAILURE() << "operator " << op;
      return false;
  }
}

bool Reference(const FilterExpr& expr, const ConnectionInfo& c) {
  switch (expr.kind_case()) {
    case FilterExpr::kAllOf: {
      bool all = true;
      for (const auto& part : expr.all_of().exprs()) {
        all = Reference(part, c) && all;
      }
      return all;
    }
    case FilterExpr::kAnyOf: {
      bool any = false;
      for (const auto& part : expr.any_of().exprs()) {
        any = Reference(part, c) || any;
      }
      return any;
    }
    case FilterExpr::kNegation:
      return !Reference(expr.negation(), c);
    case FilterExpr::kComparison: {
      const auto& comparison = expr.comparison();
      const auto have = ValuesOf(comparison.field(), c);
      const std::string want = Normal(comparison.field(), comparison.value());
      if (comparison.op() == FilterComparison::OPERATOR_NE) {
        return !have.empty() && std::count(have.begin(), have.end(), want) == 0;
      }
      for (const std::string& value : have) {
        if (Holds(value, comparison.op(), want)) return true;
      }
      return false;
    }
    case FilterExpr::kMember:
      for (const std::string& value : ValuesOf(expr.member().field(), c)) {
        for (const std::string& want : expr.member().values()) {
          if (value == Normal(expr.member().field(), want)) return true;
        }
      }
      return false;
    case FilterExpr::kPresent:
      return !ValuesOf(expr.present().field(), c).empty();
    case FilterExpr::KIND_NOT_SET:
      break;
  }
  ADD_FAILURE() << "no kind";
  return false;
}

// Whether the connection has what the term says.
bool HasTerm(const PinTerm& term, const ConnectionInfo& c) {
  static constexpr const char* kFields[] = {
      "account_id", "token_hash", "api_token_id", "groups", "connection_id"};
  const auto have = ValuesOf(kFields[static_cast<int>(term.field)], c);
  return std::count(have.begin(), have.end(), term.value) > 0;
}

// --- Random trees and connections, from few values so that they meet. ---

class Generator {
 public:
  explicit Generator(uint32_t seed) : random_(seed) {
    for (int i = 0; i < 6; ++i) {
      ids_.push_back(ConnectionId::Make(absl::FromUnixSeconds(1000), i));
    }
  }

  ConnectionInfo Connection() {
    ConnectionInfo c;
    c.id = ids_[Below(ids_.size())];
    c.endpoint = Below(2) ? "/ab" : "/b";
    c.remote_address = Below(2) ? "::1" : "ab";
    c.connect_time = Epoch() + absl::Nanoseconds(Below(6000));
    if (Below(6) == 0) return c;
    IdentityFields identity;
    identity.account_id = Text(1);
    if (const int kind = Below(3); kind == 0) {
      identity.token_hash = Text(1);
    } else if (kind == 1) {
      identity.api_token_id = Text(1);
    }
    std::set<std::string> groups, keys;
    for (int i = Below(4); i > 0; --i) groups.insert(Text(1));
    for (int i = Below(4); i > 0; --i) keys.insert(Key());
    identity.groups.assign(groups.begin(), groups.end());
    for (const auto& key : keys) identity.labels.emplace_back(key, Text(0));
    c.identity = Identity::Make(identity);
    return c;
  }

  FilterExpr Tree(int levels) {
    const int kind = levels > 1 ? Below(8) : 7;
    if (kind == 0) return Not(Tree(levels - 1));
    if (kind > 4) return Leaf();
    std::vector<FilterExpr> parts;
    for (int i = 1 + Below(3); i > 0; --i) parts.push_back(Tree(levels - 1));
    return kind < 3 ? AllOf(std::move(parts)) : AnyOf(std::move(parts));
  }

 private:
  struct Kind {
    const char* field;
    const char* operators;  // the digits of those that it takes
  };

  int Below(size_t n) {
    return std::uniform_int_distribution<int>(0,
                                              static_cast<int>(n) - 1)(random_);
  }

  static absl::Time Epoch() { return absl::FromUnixSeconds(1'800'000'000); }

  // Short, of letters that the text form has to escape, too.
  std::string Text(int least) {
    static constexpr const char* kLetters[] = {"a", "b",  "a",  "b",  "a",
                                               "*", "\"", "\\", "\n", "\u00e9"};
    std::string out;
    for (int i = least + Below(3 - least); i > 0; --i) {
      out += kLetters[Below(std::size(kLetters))];
    }
    return out;
  }

  std::string Key() { return std::string(1, "xy-"[Below(3)]); }

  std::string Time() {
    const auto zone = absl::FixedTimeZone(3600 * Below(3));
    return absl::FormatTime(absl::RFC3339_full,
                            Epoch() + absl::Nanoseconds(Below(6000)), zone);
  }

  std::string Value(const std::string& field, bool may_be_empty) {
    if (field == "connection_id") {
      const std::string text = ids_[Below(ids_.size())].ToString();
      return Below(2) ? absl::AsciiStrToUpper(text) : text;
    }
    if (field == "connect_time") return Time();
    if (field == "credential") {
      static constexpr const char* kNames[] = {"SESSION", "TOKEN", "DAEMON"};
      return kNames[Below(3)];
    }
    if (field == "endpoint" && Below(2)) return "/ab";
    return Text(may_be_empty && absl::StartsWith(field, "labels.") ? 0 : 1);
  }

  FilterExpr Leaf() {
    static constexpr Kind kKinds[] = {
        {"account_id", "12789"},     {"token_hash", "1"},
        {"api_token_id", "1"},       {"connection_id", "12"},
        {"credential", "12"},        {"groups", "12789"},
        {"labels.", "12789"},        {"endpoint", "12789"},
        {"remote_address", "12789"}, {"connect_time", "123456"}};
    const Kind& kind = kKinds[Below(std::size(kKinds))];
    std::string field = kind.field;
    if (field == "labels.") field += Key();
    const int form = Below(5);
    if (form == 0) return Present(field);
    if (form == 1 && field != "connect_time") {
      std::vector<std::string> values;
      for (int i = 1 + Below(3); i > 0; --i) {
        values.push_back(Value(field, true));
      }
      return Member(field, values);
    }
    const absl::string_view operators = kind.operators;
    const int op = operators[Below(operators.size())] - '0';
    return Compare(field, static_cast<FilterComparison::Operator>(op),
                   Value(field, op <= FilterComparison::OPERATOR_NE));
  }

  std::mt19937 random_;
  std::vector<ConnectionId> ids_;
};

// The predicate by way of the text form, which means the same.
PredicatePtr ThroughText(const FilterExpr& tree) {
  const std::string text = FilterToText(tree);
  const auto parsed = ParseFilter(text);
  EXPECT_TRUE(parsed.ok()) << text << ": " << parsed.status();
  if (!parsed.ok()) return Predicate::All();
  // What was read once is written and read as it is.
  EXPECT_EQ(FilterToText(*parsed), text);
  const auto predicate = CompileFilter(*parsed);
  EXPECT_TRUE(predicate.ok()) << text << ": " << predicate.status();
  return predicate.ok() ? *predicate : Predicate::All();
}

TEST(FilterPropertyTest, PredicatesAnswerAsTheDumbEvaluatorDoes) {
  std::cout << "seed " << kSeed << "\n";
  Generator generator(kSeed);
  std::vector<ConnectionInfo> connections;
  connections.reserve(kConnections);
  for (int i = 0; i < kConnections; ++i) {
    connections.push_back(generator.Connection());
  }
  int matches = 0, pinned = 0, pruned = 0;
  for (int i = 0; i < kTrees && !HasFailure(); ++i) {
    // Some connections change, so that not all trees see the same.
    connections[i % kConnections] = generator.Connection();
    const FilterExpr tree = generator.Tree(5);
    SCOPED_TRACE(tree.ShortDebugString());
    const auto predicate = CompileFilter(tree);
    ASSERT_TRUE(predicate.ok()) << predicate.status();
    const PredicatePtr by_text = ThroughText(tree);
    pinned += !(*predicate)->pins().empty();
    for (const ConnectionInfo& c : connections) {
      const bool expected = Reference(tree, c);
      ASSERT_EQ((*predicate)->Matches(c), expected);
      ASSERT_EQ(by_text->Matches(c), expected);
      matches += expected;
      for (const Pin& pin : (*predicate)->pins()) {
        ASSERT_FALSE(pin.empty());
        const bool possible =
            std::any_of(pin.begin(), pin.end(),
                        [&c](const PinTerm& term) { return HasTerm(term, c); });
        ASSERT_TRUE(possible || !expected);
        pruned += !possible;
      }
    }
  }
  // The test would prove little if all or nothing matched.
  const int cases = kTrees * kConnections;
  std::cout << cases << " cases, " << matches << " matches, " << pinned
            << " trees with pins, which ruled out " << pruned << "\n";
  EXPECT_GE(cases, 100'000);
  EXPECT_GT(matches, cases / 10);
  EXPECT_LT(matches, cases * 9 / 10);
  EXPECT_GT(pinned, kTrees / 20);
  EXPECT_GT(pruned, 0);
}

}  // namespace
}  // namespace broker
