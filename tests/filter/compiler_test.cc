// What CompileFilter refuses, with the place; its limits; its pins.

#include "broker/filter/compiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "broker/filter/limits.h"
#include "tests/filter/filter_testing.h"

namespace broker {
namespace {

using namespace filter_testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The error of a filter that must not compile.
FieldViolation Error(const FilterExpr& expr) {
  const absl::Status status = CompileFilter(expr).status();
  EXPECT_FALSE(status.ok()) << expr.ShortDebugString();
  return Violation(status);
}

bool Compiles(const FilterExpr& expr) {
  const absl::Status status = CompileFilter(expr).status();
  EXPECT_TRUE(status.ok()) << status;
  return status.ok();
}

// The operators that each field takes, in the order of their numbers.
TEST(CompilerTest, TakesTheOperatorsOfTheTable) {
  static constexpr char kTime[] = "2026-11-25T10:00:00Z";
  const struct {
    const char* field;
    const char* value;
    const char* allowed;  // EQ NE LT LE GT GE PREFIX SUFFIX CONTAINS
  } rows[] = {
      {"account_id", "a", "110000111"},
      {"token_hash", "a", "100000000"},
      {"api_token_id", "a", "100000000"},
      {"connection_id", kId, "110000000"},
      {"credential", "TOKEN", "110000000"},
      {"groups", "a", "110000111"},
      {"labels.a", "a", "110000111"},
      {"endpoint", "a", "110000111"},
      {"remote_address", "a", "110000111"},
      {"connect_time", kTime, "111111000"},
  };
  for (const auto& row : rows) {
    for (int op = 1; op <= 9; ++op) {
      const auto status =
          CompileFilter(Compare(row.field,
                                static_cast<FilterComparison::Operator>(op),
                                row.value))
              .status();
      EXPECT_EQ(status.ok(), row.allowed[op - 1] == '1') << row.field << op;
      if (!status.ok()) {
        EXPECT_EQ(Violation(status).field, "filter_expr.comparison.op");
      }
    }
  }
}

TEST(CompilerTest, SaysWhichOperatorsAFieldTakes) {
  EXPECT_EQ(Error(Compare("token_hash", FilterComparison::OPERATOR_PREFIX, "a"))
                .description,
            "token_hash does not take PREFIX; it takes EQ");
  for (const int op : {0, 10, 33, -1}) {
    const FieldViolation error = Error(Compare(
        "credential", static_cast<FilterComparison::Operator>(op), "TOKEN"));
    EXPECT_EQ(error.field, "filter_expr.comparison.op");
    EXPECT_EQ(error.description,
              absl::StrCat("must be one of EQ, NE for credential, not ", op));
  }
}

TEST(CompilerTest, RefusesUnknownFieldsAndListsTheKnown) {
  const FieldViolation error = Error(Eq("user", "a"));
  EXPECT_EQ(error.field, "filter_expr.comparison.field");
  EXPECT_EQ(error.description,
            "unknown field \"user\"; the fields are account_id, token_hash, "
            "api_token_id, connection_id, credential, groups, labels.<key>, "
            "endpoint, remote_address, connect_time");
  for (const char* field : {"", "labels", "groups.a", "Account_id",
                            "account_id ", "labels.<key>x"}) {
    EXPECT_EQ(Error(Eq(field, "a")).field, "filter_expr.comparison.field");
    EXPECT_EQ(Error(Member(field, {"a"})).field, "filter_expr.member.field");
    EXPECT_EQ(Error(Present(field)).field, "filter_expr.present.field");
  }
  EXPECT_EQ(Error(Member("connect_time", {"2026-11-25T10:00:00Z"})).field,
            "filter_expr.member.field");
}

TEST(CompilerTest, RefusesWrongLabelKeys) {
  EXPECT_TRUE(Compiles(Present("labels.aZ09_-")));
  EXPECT_TRUE(Compiles(Present("labels." + std::string(64, 'k'))));
  for (const std::string& key :
       {std::string(), std::string("a.b"), std::string("a b"),
        std::string("<key>"), std::string("\xc3\xa9"), std::string(65, 'k')}) {
    const FieldViolation error = Error(Present("labels." + key));
    EXPECT_EQ(error.field, "filter_expr.present.field");
    EXPECT_THAT(error.description, HasSubstr("label key"));
  }
}

TEST(CompilerTest, RefusesWrongValues) {
  const auto refuses = [](const char* field, const std::string& value,
                          const std::string& message) {
    const FieldViolation error = Error(Eq(field, value));
    EXPECT_EQ(error.field, "filter_expr.comparison.value") << value;
    EXPECT_THAT(error.description, HasSubstr(message)) << value;
  };
  refuses("connection_id", "18", "must be a UUID");
  refuses("connection_id", "18", "not \"18\"");
  refuses("credential", "session",
          "must be SESSION, TOKEN or DAEMON, not "
          "\"session\"");
  for (const char* time :
       {"now", "infinite-future", " 2026-11-25T10:00:00Z",
        "2026-11-25T10:00:00Z ", "2026-11-25T10:00:00", "2026-11-25",
        "2026-13-25T10:00:00Z", "2026-11-25T24:00:01Z", "12026-11-25T10:00:00Z",
        "2026-11-25 10:00:00Z", "2026-11-25T10:00:00.Z",
        "2026-11-25T10:00:00.5", "1795600800", "2026-11-25T10:00:00+01",
        "2026-11-25T10:00:00+0100", "2026-11-25T10:00:00 +01:00",
        "2026-11-25T10:00:00+25:00"}) {
    refuses("connect_time", time, "must be an RFC 3339 time");
  }
  for (const char* time :
       {"2026-11-25t10:00:00z", "2026-11-25T10:00:00.123456789-23:59",
        "0001-01-01T00:00:00Z", "9999-12-31T23:59:59+00:00"}) {
    EXPECT_TRUE(Compiles(Eq("connect_time", time))) << time;
  }
}

TEST(CompilerTest, RefusesEmptyValuesWhereTheyMeanNothing) {
  using Comparison = FilterComparison;
  for (const char* field :
       {"account_id", "token_hash", "api_token_id", "connection_id",
        "credential", "groups", "endpoint", "remote_address", "connect_time"}) {
    EXPECT_EQ(Error(Eq(field, "")).field, "filter_expr.comparison.value");
    if (std::string(field) == "connect_time") continue;
    EXPECT_EQ(Error(Member(field, {""})).field, "filter_expr.member.values[0]");
  }
  for (const auto op :
       {Comparison::OPERATOR_PREFIX, Comparison::OPERATOR_SUFFIX,
        Comparison::OPERATOR_CONTAINS}) {
    EXPECT_EQ(Error(Compare("labels.a", op, "")).field,
              "filter_expr.comparison.value");
  }
  EXPECT_TRUE(Compiles(Eq("labels.a", "")));
  EXPECT_TRUE(Compiles(Compare("labels.a", Comparison::OPERATOR_NE, "")));
  EXPECT_TRUE(Compiles(Member("labels.a", {"", "b"})));
}

TEST(CompilerTest, RefusesWhatIsEmpty) {
  EXPECT_EQ(Error(FilterExpr()).field, "filter_expr");
  EXPECT_EQ(Error(AllOf({})).field, "filter_expr.all_of.exprs");
  EXPECT_EQ(Error(AnyOf({})).field, "filter_expr.any_of.exprs");
  EXPECT_EQ(Error(Not(FilterExpr())).field, "filter_expr.negation");
  EXPECT_EQ(Error(AllOf({FilterExpr()})).field, "filter_expr.all_of.exprs[0]");
  EXPECT_EQ(Error(Member("account_id", {})).field, "filter_expr.member.values");
}

TEST(CompilerTest, NamesThePlaceFromTheGivenRoot) {
  const FilterExpr good = Eq("account_id", "a");
  const FilterExpr bad =
      AllOf({AnyOf({good, good}), Not(good),
             AnyOf({good, Not(AllOf({Member("groups", {"a", "b", ""})}))})});
  const auto status = CompileFilter(bad, "selector").status();
  EXPECT_EQ(Violation(status).field,
            "selector.all_of.exprs[2].any_of.exprs[1].negation.all_of.exprs[0]"
            ".member.values[2]");
  EXPECT_TRUE(absl::StartsWith(status.message(), "selector.all_of"));
}

TEST(CompilerTest, RefusesFieldsOfALaterVersion) {
  // As an older broker sees a message that a newer client sent.
  const auto with_unknown = [](auto* message, FilterExpr* expr) {
    message->GetReflection()->MutableUnknownFields(message)->AddVarint(99, 1);
    return Error(*expr);
  };
  FilterExpr list = AllOf({Eq("account_id", "a")});
  FilterExpr* leaf = list.mutable_all_of()->mutable_exprs(0);
  EXPECT_EQ(with_unknown(leaf->mutable_comparison(), &list).field,
            "filter_expr.all_of.exprs[0].comparison");
  *leaf = Member("groups", {"a"});
  EXPECT_EQ(with_unknown(leaf->mutable_member(), &list).field,
            "filter_expr.all_of.exprs[0].member");
  *leaf = Present("groups");
  EXPECT_EQ(with_unknown(leaf, &list).field, "filter_expr.all_of.exprs[0]");
  EXPECT_EQ(with_unknown(list.mutable_all_of(), &list).field,
            "filter_expr.all_of");
  EXPECT_THAT(Error(list).description, HasSubstr("field number 99"));
}

TEST(CompilerTest, LimitsTheDepth) {
  EXPECT_TRUE(Compiles(Deep(kMaxDepth)));
  std::string place = "filter_expr";
  for (int i = 0; i < kMaxDepth; ++i) place += ".negation";
  const FieldViolation error = Error(Deep(kMaxDepth + 1));
  EXPECT_EQ(error.field, place);
  EXPECT_EQ(error.description, "is at level 17, the limit is 16 levels");
  // Deeper than any message from the wire.
  EXPECT_EQ(Error(Deep(5000)).field, place);
}

TEST(CompilerTest, LimitsTheNodes) {
  const FilterExpr leaf = Present("groups");
  EXPECT_TRUE(Compiles(AnyOf(std::vector<FilterExpr>(kMaxNodes - 1, leaf))));
  const FieldViolation error =
      Error(AnyOf(std::vector<FilterExpr>(kMaxNodes, leaf)));
  EXPECT_EQ(error.field, "filter_expr.any_of.exprs[255]");
  EXPECT_EQ(error.description, "is node 257, the limit is 256");
}

TEST(CompilerTest, LimitsTheSetMembersOfAllSets) {
  const std::vector<std::string> half(kMaxSetMembers / 2, "a");
  std::vector<std::string> more = half;
  more.push_back("b");
  EXPECT_TRUE(Compiles(
      Member("groups", std::vector<std::string>(kMaxSetMembers, "a"))));
  EXPECT_TRUE(
      Compiles(AnyOf({Member("groups", half), Member("groups", half)})));
  const FieldViolation error =
      Error(AnyOf({Member("groups", half), Member("groups", more)}));
  EXPECT_EQ(error.field, "filter_expr.any_of.exprs[1].member.values");
  EXPECT_THAT(error.description, HasSubstr("4097"));
}

TEST(CompilerTest, LimitsTheBytesOfAValue) {
  const std::string longest(kMaxValueBytes, 'a');
  EXPECT_TRUE(Compiles(Eq("account_id", longest)));
  EXPECT_TRUE(Compiles(Member("account_id", {longest})));
  const FieldViolation error = Error(Eq("account_id", longest + "a"));
  EXPECT_EQ(error.field, "filter_expr.comparison.value");
  EXPECT_EQ(error.description, "has 1025 bytes, the limit is 1024");
  EXPECT_EQ(Error(Member("account_id", {"b", longest + "a"})).field,
            "filter_expr.member.values[1]");
}

TEST(CompilerTest, LimitsTheBytesOfTheTree) {
  FilterExpr expr = Member("account_id", {});
  while (expr.ByteSizeLong() + kMaxValueBytes < kMaxBytes) {
    expr.mutable_member()->add_values(std::string(kMaxValueBytes - 10, 'a'));
  }
  expr.mutable_member()->add_values("a");
  std::string* last =
      expr.mutable_member()->mutable_values()->rbegin().operator->();
  while (expr.ByteSizeLong() < kMaxBytes) *last += 'a';
  ASSERT_EQ(expr.ByteSizeLong(), kMaxBytes);
  EXPECT_TRUE(Compiles(expr));
  *last += 'a';
  const FieldViolation error = Error(expr);
  EXPECT_EQ(error.field, "filter_expr");
  EXPECT_EQ(error.description, "takes 65537 bytes, the limit is 65536");
}

// Errors reach people's terminals and protobuf strings, which are UTF-8.
TEST(CompilerTest, CutsAndEscapesWhatItQuotes) {
  const std::string description =
      Error(Eq("\n\xc3" + std::string(kMaxBytes, 'a'), "v")).description;
  EXPECT_THAT(description, HasSubstr("\"\\n\\303aaa"));
  EXPECT_LT(description.size(), 500u);
}

// "account_id=a|group=b" for a pin of two terms.
std::vector<std::string> Pins(const FilterExpr& expr) {
  static constexpr const char* kNames[] = {"account", "session", "token",
                                           "group", "id"};
  std::vector<std::string> out;
  const PredicatePtr predicate = *CompileFilter(expr);
  for (const Pin& pin : predicate->pins()) {
    std::string& text = out.emplace_back();
    for (const PinTerm& term : pin) {
      absl::StrAppend(&text, text.empty() ? "" : "|",
                      kNames[static_cast<int>(term.field)], "=", term.value);
    }
  }
  return out;
}

TEST(CompilerTest, PinsIndexedFieldsUnderEqAndMember) {
  EXPECT_THAT(Pins(Eq("account_id", "a")), ElementsAre("account=a"));
  EXPECT_THAT(Pins(Eq("token_hash", "a")), ElementsAre("session=a"));
  EXPECT_THAT(Pins(Eq("api_token_id", "a")), ElementsAre("token=a"));
  EXPECT_THAT(Pins(Eq("groups", "a")), ElementsAre("group=a"));
  EXPECT_THAT(Pins(Eq("connection_id", "018F3A1C-7B2E-7C11-9A52-3F1F6F0B2A00")),
              ElementsAre(absl::StrCat("id=", kId)));
  EXPECT_THAT(Pins(Member("groups", {"b", "a", "b"})),
              ElementsAre("group=a|group=b"));
  EXPECT_THAT(Pins(Member("connection_id", {kOtherId, kId})),
              ElementsAre(absl::StrCat("id=", kId, "|id=", kOtherId)));
}

TEST(CompilerTest, PinsNothingElse) {
  using Comparison = FilterComparison;
  EXPECT_THAT(Pins(Compare("account_id", Comparison::OPERATOR_NE, "a")),
              IsEmpty());
  EXPECT_THAT(Pins(Compare("groups", Comparison::OPERATOR_PREFIX, "a")),
              IsEmpty());
  EXPECT_THAT(Pins(Compare("connection_id", Comparison::OPERATOR_NE, kId)),
              IsEmpty());
  EXPECT_THAT(Pins(Present("account_id")), IsEmpty());
  EXPECT_THAT(Pins(Eq("labels.a", "b")), IsEmpty());
  EXPECT_THAT(Pins(Member("endpoint", {"b"})), IsEmpty());
  EXPECT_THAT(Pins(Not(Eq("account_id", "a"))), IsEmpty());
  EXPECT_THAT(Pins(Not(Not(Eq("account_id", "a")))), IsEmpty());
}

TEST(CompilerTest, JoinsThePinsOfLists) {
  const FilterExpr account = Eq("account_id", "a");
  const FilterExpr group = Eq("groups", "g");
  const FilterExpr other = Present("labels.x");
  const FilterExpr many = Member("account_id", {"x", "y"});
  EXPECT_THAT(Pins(AllOf({account, other, group})),
              ElementsAre("account=a", "group=g"));
  EXPECT_THAT(Pins(AnyOf({group, account, account})),
              ElementsAre("account=a|group=g"));
  EXPECT_THAT(Pins(AnyOf({group, other})), IsEmpty());
  // Of each alternative, the cheapest.
  EXPECT_THAT(Pins(AnyOf({AllOf({many, group}), account})),
              ElementsAre("account=a|group=g"));
  EXPECT_THAT(Pins(AllOf({AnyOf({account, group}), many, Not(account)})),
              ElementsAre("account=a|group=g", "account=x|account=y"));
}

}  // namespace
}  // namespace broker
