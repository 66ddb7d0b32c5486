// What each field answers under each operator.

#include "broker/filter/predicate.h"

#include <gtest/gtest.h>

#include "broker/filter/compiler.h"
#include "broker/filter/limits.h"
#include "tests/filter/filter_testing.h"

namespace broker {
namespace {

using namespace filter_testing;
using Op = FilterComparison::Operator;

constexpr Op kEq = FilterComparison::OPERATOR_EQ;
constexpr Op kNe = FilterComparison::OPERATOR_NE;
constexpr Op kLt = FilterComparison::OPERATOR_LT;
constexpr Op kLe = FilterComparison::OPERATOR_LE;
constexpr Op kGt = FilterComparison::OPERATOR_GT;
constexpr Op kGe = FilterComparison::OPERATOR_GE;
constexpr Op kPrefix = FilterComparison::OPERATOR_PREFIX;
constexpr Op kSuffix = FilterComparison::OPERATOR_SUFFIX;
constexpr Op kContains = FilterComparison::OPERATOR_CONTAINS;

bool Matches(const FilterExpr& expr, const ConnectionInfo& c) {
  const auto predicate = CompileFilter(expr);
  EXPECT_TRUE(predicate.ok()) << predicate.status();
  return predicate.ok() && (*predicate)->Matches(c);
}

struct Row {
  const char* field;
  Op op;
  const char* value;
  bool matches;  // the connection Session()
};

std::string Name(const Row& row) {
  return absl::StrCat(row.field, " ", FilterComparison::Operator_Name(row.op),
                      " '", row.value, "'");
}

TEST(PredicateTest, AnswersPerFieldAndOperator) {
  static constexpr Row kRows[] = {
      {"account_id", kEq, "a1", true},
      {"account_id", kEq, "A1", false},
      {"account_id", kNe, "a1", false},
      {"account_id", kNe, "a2", true},
      {"account_id", kPrefix, "a", true},
      {"account_id", kPrefix, "1", false},
      {"account_id", kSuffix, "1", true},
      {"account_id", kSuffix, "a", false},
      {"account_id", kContains, "a1", true},
      {"account_id", kContains, "a1x", false},
      {"token_hash", kEq, "hash", true},
      {"token_hash", kEq, "has", false},
      {"api_token_id", kEq, "t1", false},
      {"connection_id", kEq, kId, true},
      {"connection_id", kEq, "018F3A1C-7B2E-7C11-9A52-3F1F6F0B2A00", true},
      {"connection_id", kEq, kOtherId, false},
      {"connection_id", kNe, kId, false},
      {"connection_id", kNe, kOtherId, true},
      {"credential", kEq, "SESSION", true},
      {"credential", kEq, "TOKEN", false},
      {"credential", kEq, "DAEMON", false},
      {"credential", kNe, "SESSION", false},
      {"credential", kNe, "DAEMON", true},
      {"groups", kEq, "beta", true},
      {"groups", kEq, "staff", true},
      {"groups", kEq, "bet", false},
      {"groups", kNe, "beta", false},
      {"groups", kNe, "staff", false},
      {"groups", kNe, "gamma", true},
      {"groups", kPrefix, "st", true},
      {"groups", kPrefix, "beta", true},
      {"groups", kPrefix, "c", false},
      {"groups", kPrefix, "z", false},
      {"groups", kSuffix, "taff", true},
      {"groups", kSuffix, "st", false},
      {"groups", kContains, "et", true},
      {"groups", kContains, "betastaff", false},
      {"labels.region", kEq, "eu-west", true},
      {"labels.region", kEq, "", false},
      {"labels.region", kNe, "", true},
      {"labels.region", kNe, "eu-west", false},
      {"labels.region", kPrefix, "eu", true},
      {"labels.region", kSuffix, "west", true},
      {"labels.region", kContains, "-", true},
      {"labels.region", kContains, "_", false},
      {"labels.empty", kEq, "", true},
      {"labels.empty", kNe, "", false},
      {"labels.empty", kNe, "x", true},
      {"labels.none", kEq, "", false},
      {"labels.none", kNe, "x", false},
      {"endpoint", kEq, "/ws", true},
      {"endpoint", kNe, "/ws", false},
      {"endpoint", kPrefix, "/", true},
      {"endpoint", kSuffix, "s", true},
      {"endpoint", kContains, "w", true},
      {"remote_address", kEq, "192.0.2.7", true},
      {"remote_address", kNe, "192.0.2.8", true},
      {"remote_address", kPrefix, "192.0.2.", true},
      {"remote_address", kSuffix, ".7", true},
      {"remote_address", kContains, ".0.", true},
      {"remote_address", kContains, ".1.", false},
  };
  const ConnectionInfo session = Session();
  for (const Row& row : kRows) {
    EXPECT_EQ(Matches(Compare(row.field, row.op, row.value), session),
              row.matches)
        << Name(row);
  }
}

TEST(PredicateTest, ComparesTimesToTheMicrosecond) {
  static constexpr char kBefore[] = "2026-11-25T10:00:00Z";
  static constexpr char kSame[] = "2026-11-25T10:00:00.000001Z";
  static constexpr char kSameElsewhere[] = "2026-11-25T11:00:00.0000019+01:00";
  static constexpr char kAfter[] = "2026-11-25T10:00:00.000002Z";
  const struct {
    Op op;
    bool before, same, after;  // with each of the values
  } rows[] = {{kEq, false, true, false}, {kNe, true, false, true},
              {kLt, false, false, true}, {kLe, false, true, true},
              {kGt, true, false, false}, {kGe, true, true, false}};
  ConnectionInfo c = Session();
  ASSERT_EQ(
      absl::FormatTime(absl::RFC3339_full, c.connect_time, absl::UTCTimeZone()),
      "2026-11-25T10:00:00.000001+00:00");
  for (const auto nanos : {0, 999}) {
    ConnectionInfo moved = c;
    moved.connect_time += absl::Nanoseconds(nanos);
    for (const auto& row : rows) {
      const auto matches = [&](const char* value) {
        return Matches(Compare("connect_time", row.op, value), moved);
      };
      EXPECT_EQ(matches(kBefore), row.before) << row.op;
      EXPECT_EQ(matches(kSame), row.same) << row.op;
      EXPECT_EQ(matches(kSameElsewhere), row.same) << row.op;
      EXPECT_EQ(matches(kAfter), row.after) << row.op;
    }
  }
}

TEST(PredicateTest, MemberMatchesAnyOfItsValues) {
  const ConnectionInfo c = Session();
  EXPECT_TRUE(Matches(Member("account_id", {"a0", "a1"}), c));
  EXPECT_FALSE(Matches(Member("account_id", {"a0", "a2"}), c));
  EXPECT_TRUE(Matches(Member("token_hash", {"hash", "x"}), c));
  EXPECT_FALSE(Matches(Member("api_token_id", {"hash", "x"}), c));
  EXPECT_TRUE(Matches(Member("api_token_id", {"t1", "x"}), Token()));
  EXPECT_TRUE(Matches(Member("connection_id", {kOtherId, kId}), c));
  EXPECT_FALSE(Matches(Member("connection_id", {kOtherId}), c));
  EXPECT_TRUE(Matches(Member("credential", {"TOKEN", "SESSION"}), c));
  EXPECT_FALSE(Matches(Member("credential", {"TOKEN", "DAEMON"}), c));
  EXPECT_TRUE(Matches(Member("groups", {"staff", "x"}), c));
  EXPECT_FALSE(Matches(Member("groups", {"sta", "x"}), c));
  EXPECT_TRUE(Matches(Member("labels.empty", {"", "x"}), c));
  EXPECT_FALSE(Matches(Member("labels.none", {"", "x"}), c));
  EXPECT_TRUE(Matches(Member("endpoint", {"/ws"}), c));
  EXPECT_TRUE(Matches(Member("remote_address", {"192.0.2.7"}), c));
}

TEST(PredicateTest, PresentAsksWhetherTheFieldIsThere) {
  const char* fields[] = {"account_id",     "token_hash",   "api_token_id",
                          "connection_id",  "credential",   "groups",
                          "labels.region",  "labels.empty", "endpoint",
                          "remote_address", "connect_time"};
  const auto present = [&](const ConnectionInfo& c) {
    std::string out;
    for (const char* field : fields) {
      out += Matches(Present(field), c) ? '1' : '0';
    }
    return out;
  };
  EXPECT_EQ(present(Session()), "11011111111");
  EXPECT_EQ(present(Token()), "10111000111");
  EXPECT_EQ(present(Daemon()), "10011000111");
  EXPECT_EQ(present(Unbound()), "00010000111");
}

TEST(PredicateTest, AnAbsentFieldMatchesNothingEvenUnderNe) {
  const ConnectionInfo unbound = Unbound();
  for (const char* field : {"account_id", "groups", "labels.region"}) {
    for (const Op op : {kEq, kNe, kPrefix, kSuffix, kContains}) {
      EXPECT_FALSE(Matches(Compare(field, op, "a"), unbound)) << field << op;
    }
    EXPECT_FALSE(Matches(Member(field, {"a"}), unbound)) << field;
  }
  for (const char* value : {"SESSION", "TOKEN", "DAEMON"}) {
    EXPECT_FALSE(Matches(Compare("credential", kEq, value), unbound));
    EXPECT_FALSE(Matches(Compare("credential", kNe, value), unbound));
  }
  EXPECT_FALSE(Matches(Eq("token_hash", "x"), unbound));
  EXPECT_FALSE(Matches(Eq("token_hash", "x"), Token()));
  EXPECT_FALSE(Matches(Eq("api_token_id", "x"), Session()));
  // In no group at all: nothing to be different.
  EXPECT_FALSE(Matches(Compare("groups", kNe, "beta"), Daemon()));
  // A transport that knows no address.
  ConnectionInfo nowhere = Session();
  nowhere.remote_address.clear();
  EXPECT_FALSE(Matches(Compare("remote_address", kNe, "::1"), nowhere));
  EXPECT_FALSE(Matches(Present("remote_address"), nowhere));
}

TEST(PredicateTest, NegationIsTwoValued) {
  EXPECT_TRUE(Matches(Not(Eq("labels.none", "1")), Session()));
  EXPECT_TRUE(Matches(Not(Compare("account_id", kNe, "a1")), Unbound()));
  EXPECT_FALSE(Matches(Not(Eq("account_id", "a1")), Session()));
  EXPECT_TRUE(Matches(Not(Not(Eq("account_id", "a1"))), Session()));
}

TEST(PredicateTest, ListsJoinTheirParts) {
  const FilterExpr yes = Eq("account_id", "a1");
  const FilterExpr no = Eq("account_id", "a2");
  const ConnectionInfo c = Session();
  EXPECT_TRUE(Matches(AllOf({yes}), c));
  EXPECT_TRUE(Matches(AllOf({yes, yes}), c));
  EXPECT_FALSE(Matches(AllOf({yes, no}), c));
  EXPECT_FALSE(Matches(AllOf({no, yes}), c));
  EXPECT_FALSE(Matches(AnyOf({no}), c));
  EXPECT_TRUE(Matches(AnyOf({no, yes}), c));
  EXPECT_TRUE(Matches(AnyOf({yes, no}), c));
  EXPECT_FALSE(Matches(AnyOf({no, no}), c));
  // A part that is a tree is skipped as a whole.
  EXPECT_TRUE(Matches(AllOf({AnyOf({yes, no, no}), Not(no), yes}), c));
  EXPECT_TRUE(Matches(AnyOf({AllOf({no, yes, yes}), AllOf({yes, yes})}), c));
  EXPECT_FALSE(Matches(AnyOf({AllOf({no, yes, yes}), AllOf({yes, no})}), c));
}

TEST(PredicateTest, AllMatchesEveryConnection) {
  const PredicatePtr all = Predicate::All();
  EXPECT_TRUE(all->matches_all());
  EXPECT_TRUE(all->Matches(Unbound()));
  EXPECT_TRUE(all->Matches(Session()));
  EXPECT_TRUE(all->pins().empty());
  EXPECT_EQ(all->expr().kind_case(), FilterExpr::KIND_NOT_SET);
  EXPECT_FALSE(all->uses_connect_time());
  EXPECT_EQ(all, Predicate::All());
}

TEST(PredicateTest, BothMatchesWhatBothMatch) {
  const auto compile = [](const FilterExpr& expr) {
    return *CompileFilter(expr);
  };
  const PredicatePtr account = compile(Eq("account_id", "a1"));
  const PredicatePtr either =
      compile(AnyOf({Not(Eq("labels.region", "eu")), Present("groups")}));
  const PredicatePtr both = Predicate::Both(either, account);
  const std::vector<ConnectionInfo> all = {Unbound(), Session(), Daemon()};
  for (const ConnectionInfo& c : all) {
    EXPECT_EQ(both->Matches(c), either->Matches(c) && account->Matches(c));
    EXPECT_EQ(Predicate::Both(both, either)->Matches(c), both->Matches(c));
  }
  // An index that helps one of them helps both.
  EXPECT_EQ(both->pins().size(), account->pins().size());
  // As if it had been sent: what is written down can be read again.
  EXPECT_EQ(compile(both->expr())->fingerprint(), both->fingerprint());
  EXPECT_NE(both->fingerprint(), account->fingerprint());

  EXPECT_EQ(Predicate::Both(account, nullptr), account);
  EXPECT_EQ(Predicate::Both(Predicate::All(), account), account);
  EXPECT_TRUE(Predicate::Both(nullptr, nullptr)->matches_all());
}

TEST(PredicateTest, NotMatchesWhatThatOneDoesNot) {
  const PredicatePtr account = *CompileFilter(Eq("account_id", "a1"));
  const PredicatePtr excluded =
      *CompileFilter(AnyOf({AllOf({Eq("account_id", "a1"), Present("groups")}),
                            Eq("labels.region", "eu")}));
  const PredicatePtr rest = Predicate::Not(*excluded);
  EXPECT_FALSE(rest->matches_all());
  const PredicatePtr both = Predicate::Both(account, rest);
  const std::vector<ConnectionInfo> all = {Unbound(), Session(), Daemon()};
  for (const ConnectionInfo& c : all) {
    EXPECT_EQ(rest->Matches(c), !excluded->Matches(c));
    EXPECT_EQ(both->Matches(c), account->Matches(c) && !excluded->Matches(c));
    EXPECT_EQ(Predicate::Not(*rest)->Matches(c), excluded->Matches(c));
  }
  // What it leaves out no index finds.
  EXPECT_TRUE(rest->pins().empty());
  EXPECT_EQ(both->pins().size(), account->pins().size());
  EXPECT_EQ((*CompileFilter(rest->expr()))->fingerprint(), rest->fingerprint());
}

TEST(PredicateTest, FingerprintTellsTreesApart) {
  const auto print = [](const FilterExpr& expr) {
    return (*CompileFilter(expr))->fingerprint();
  };
  const FilterExpr a = Eq("account_id", "a1");
  const FilterExpr b = Eq("account_id", "a2");
  EXPECT_EQ(print(a).size(), 32u);
  EXPECT_EQ(print(a), print(Eq("account_id", "a1")));
  EXPECT_NE(print(a), print(b));
  EXPECT_NE(print(AllOf({a, b})), print(AllOf({b, a})));
  EXPECT_NE(print(AllOf({a, b})), print(AnyOf({a, b})));
  EXPECT_NE(print(a), Predicate::All()->fingerprint());
}

TEST(PredicateTest, KnowsTheFieldsThatAFenceMayNotUse) {
  const auto compile = [](const FilterExpr& expr) {
    return *CompileFilter(expr);
  };
  const FilterExpr a = Eq("account_id", "a1");
  EXPECT_FALSE(compile(a)->uses_connection_id());
  EXPECT_FALSE(compile(a)->uses_connect_time());
  const PredicatePtr by_id = compile(AnyOf({a, Not(Eq("connection_id", kId))}));
  EXPECT_TRUE(by_id->uses_connection_id());
  EXPECT_FALSE(by_id->uses_connect_time());
  EXPECT_TRUE(compile(Present("connect_time"))->uses_connect_time());
}

}  // namespace
}  // namespace broker
