// The text form: what each spelling means, and where each error is.

#include "broker/filter/text_parser.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "broker/filter/compiler.h"
#include "broker/filter/limits.h"
#include "tests/filter/filter_testing.h"

namespace broker {
namespace {

using namespace filter_testing;

constexpr auto kNe = FilterComparison::OPERATOR_NE;
constexpr auto kPrefix = FilterComparison::OPERATOR_PREFIX;
constexpr auto kSuffix = FilterComparison::OPERATOR_SUFFIX;
constexpr auto kContains = FilterComparison::OPERATOR_CONTAINS;

// The text means this tree, and the tree compiles.
void ExpectTree(absl::string_view text, const FilterExpr& tree) {
  const auto parsed = ParseFilter(text);
  ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status();
  EXPECT_EQ(parsed->ShortDebugString(), tree.ShortDebugString()) << text;
  const auto predicate = CompileFilter(*parsed);
  ASSERT_TRUE(predicate.ok()) << text << ": " << predicate.status();
  EXPECT_EQ((*predicate)->fingerprint(), (*CompileFilter(tree))->fingerprint());
}

// The text is refused at that character with a message that has that part.
void ExpectError(absl::string_view text, size_t character,
                 absl::string_view part) {
  const auto parsed = ParseFilter(text);
  ASSERT_FALSE(parsed.ok()) << text;
  const FieldViolation error = Violation(parsed.status());
  EXPECT_EQ(error.field, "filter") << text;
  EXPECT_TRUE(absl::StartsWith(error.description,
                               absl::StrCat("at character ", character, ": ")))
      << text << ": " << error.description;
  EXPECT_TRUE(absl::StrContains(error.description, part))
      << text << ": " << error.description;
}

TEST(TextParserTest, ReadsTheExampleOfTheDesign) {
  ExpectTree(R"(account_id = "a1" AND (groups:"beta" OR labels.region = "eu"))"
             R"( AND NOT api_token_id:*)",
             AllOf({Eq("account_id", "a1"),
                    AnyOf({Eq("groups", "beta"), Eq("labels.region", "eu")}),
                    Not(Present("api_token_id"))}));
}

TEST(TextParserTest, ReadsOperators) {
  const FilterExpr a1 = Eq("account_id", "a1");
  for (const char* text :
       {"account_id = \"a1\"", "account_id='a1'", "account_id=a1",
        "  account_id\t=\r\n a1 ", "((account_id = a1))"}) {
    ExpectTree(text, a1);
  }
  ExpectTree("account_id != a1", Compare("account_id", kNe, "a1"));
  static constexpr char kTime[] = "2026-11-25T10:00:00Z";
  const char* signs[] = {"=", "!=", "<", "<=", ">", ">="};
  for (int i = 0; i < 6; ++i) {
    const auto op = static_cast<FilterComparison::Operator>(i + 1);
    const FilterExpr tree = Compare("connect_time", op, kTime);
    ExpectTree(absl::StrCat("connect_time ", signs[i], " \"", kTime, "\""),
               tree);
    ExpectTree(absl::StrCat("connect_time", signs[i], kTime), tree);
  }
}

TEST(TextParserTest, ReadsHas) {
  ExpectTree("groups:*", Present("groups"));
  ExpectTree("groups:\"*\"", Present("groups"));
  ExpectTree("labels.x:*", Present("labels.x"));
  ExpectTree("labels:x", Present("labels.x"));
  ExpectTree("connect_time : *", Present("connect_time"));
  ExpectTree("groups:beta", Eq("groups", "beta"));
  ExpectTree("groups = beta", Eq("groups", "beta"));
  ExpectTree("groups:\"be*\"", Compare("groups", kPrefix, "be"));
  ExpectTree("groups:*ta", Compare("groups", kSuffix, "ta"));
  ExpectTree("groups:*et*", Compare("groups", kContains, "et"));
  ExpectTree("groups:\"\\*\"", Eq("groups", "*"));
}

TEST(TextParserTest, ReadsWildcards) {
  const std::string field = "labels.x";
  ExpectTree("labels.x = \"eu*\"", Compare(field, kPrefix, "eu"));
  ExpectTree("labels.x = eu*", Compare(field, kPrefix, "eu"));
  ExpectTree("labels.x = \"*eu\"", Compare(field, kSuffix, "eu"));
  ExpectTree("labels.x = \"*eu*\"", Compare(field, kContains, "eu"));
  ExpectTree("labels.x = \"\\*eu\"", Eq(field, "*eu"));
  ExpectTree("labels.x = \"*e\\*u\\**\"", Compare(field, kContains, "e*u*"));
  ExpectTree("labels.x = \"\\**\"", Compare(field, kPrefix, "*"));
  ExpectTree("labels.x != \"\\*\"", Compare(field, kNe, "*"));
  ExpectTree("labels.x IN (\"\\*\")", Member(field, {"*"}));
}

TEST(TextParserTest, ReadsValues) {
  const std::string field = "labels.x";
  ExpectTree("labels.x = \"\"", Eq(field, ""));
  ExpectTree("labels.x = ''", Eq(field, ""));
  ExpectTree(R"(labels.x = "a\"b\\c'd")", Eq(field, "a\"b\\c'd"));
  ExpectTree(R"(labels.x = 'a"b\'c')", Eq(field, "a\"b'c"));
  ExpectTree(R"(labels.x = "\x0a\x00\x7F")",
             Eq(field, std::string("\n\0\x7f", 3)));
  ExpectTree("labels.x = \"caf\u00e9 \u20ac \U0001F600\"",
             Eq(field, "caf\u00e9 \u20ac \U0001F600"));
  ExpectTree("labels.x = -5", Eq(field, "-5"));
  ExpectTree("labels.x = a_b-c.d:e/f@g+h", Eq(field, "a_b-c.d:e/f@g+h"));
  ExpectTree("labels.x = \"AND\"", Eq(field, "AND"));
  ExpectTree("labels.x = and", Eq(field, "and"));
  ExpectTree("labels.x = IN", Eq(field, "IN"));
  ExpectTree("remote_address = ::1", Eq("remote_address", "::1"));
  ExpectTree("endpoint=/ws", Eq("endpoint", "/ws"));
}

TEST(TextParserTest, ReadsSets) {
  ExpectTree("account_id IN (\"a1\",\"a2\")",
             Member("account_id", {"a1", "a2"}));
  ExpectTree("account_id IN(a1 , 'a2')", Member("account_id", {"a1", "a2"}));
  ExpectTree("labels.x IN (\"\")", Member("labels.x", {""}));
  ExpectTree("NOT groups IN (a)", Not(Member("groups", {"a"})));
}

TEST(TextParserTest, ReadsAndOrNotAndParentheses) {
  const FilterExpr a = Eq("account_id", "a");
  const FilterExpr b = Eq("groups", "b");
  const FilterExpr c = Present("labels.c");
  const std::string sa = "account_id=a", sb = "groups:b", sc = "labels:c";
  ExpectTree(sa + " AND " + sb + " AND " + sc, AllOf({a, b, c}));
  ExpectTree(sa + " OR " + sb + " OR " + sc, AnyOf({a, b, c}));
  ExpectTree(sa + " AND (" + sb + " AND " + sc + ")",
             AllOf({a, AllOf({b, c})}));
  ExpectTree("(" + sa + " OR " + sb + ") AND " + sc, AllOf({AnyOf({a, b}), c}));
  ExpectTree("NOT " + sa + " AND " + sb, AllOf({Not(a), b}));
  ExpectTree("NOT (" + sa + " AND " + sb + ")", Not(AllOf({a, b})));
  ExpectTree("NOT(" + sa + ")", Not(a));
  ExpectTree("NOT NOT " + sa, Not(Not(a)));
  ExpectTree("-" + sa, Not(a));
  ExpectTree("-" + sa + " OR -" + sb, AnyOf({Not(a), Not(b)}));
  ExpectTree("-(" + sa + " OR " + sb + ")", Not(AnyOf({a, b})));
  ExpectTree("-labels.-x:*", Not(Present("labels.-x")));
}

TEST(TextParserTest, RefusesWhatIsEmptyOrUnfinished) {
  ExpectError("", 1, "match_all");
  ExpectError(" \t\n", 4, "match_all");
  ExpectError("account_id", 11, "expected one of = != < <= > >= : IN");
  ExpectError("account_id =", 13, "expected a value, found the end");
  ExpectError("account_id = )", 14, "expected a value");
  ExpectError("account_id = a AND", 19, "found the end");
  ExpectError("NOT", 4, "found the end");
  ExpectError("(account_id = a", 1, "no \")\"");
  ExpectError("account_id = a)", 15, "no \"(\"");
  ExpectError("()", 2, "expected a field");
  ExpectError("= a", 1, "expected a field");
  ExpectError("\"account_id\" = a", 1, "without quotes");
  ExpectError("AND account_id = a", 1, "expected a field");
  ExpectError("account_id = AND", 14, "needs quotes");
  ExpectError("account_id = \"a", 14, "never closed");
  ExpectError("account_id = \"a\\\"", 14, "never closed");
  ExpectError("- account_id = a", 1, "NOT");
  ExpectError("- (account_id = a)", 1, "NOT");
  ExpectError("--account_id = a", 2, "unknown field");
}

TEST(TextParserTest, HintsAtWhatWasMeant) {
  ExpectError("account_id = a groups:b", 16, "write AND between them");
  ExpectError("account_id = a (groups:b)", 16, "write AND between them");
  ExpectError("account_id = a b", 16, "quotes");
  ExpectError("account_id = a NOT groups:b", 16, "write AND between them");
  ExpectError("account_id = a and groups:b", 16, "in capitals");
  ExpectError("account_id = a Or groups:b", 16, "in capitals");
  ExpectError("not account_id = a", 1, "in capitals");
  ExpectError("account_id in (a)", 12, "in capitals");
  ExpectError("account_id=a AND groups:b OR groups:c", 27, "parentheses");
  ExpectError("account_id=a OR groups:b AND groups:c", 26, "parentheses");
  ExpectError("account_id:a", 11, "write =");
  ExpectError("labels.x:a", 9, "write =");
  ExpectError("account_id = *", 14, "field:*");
  ExpectError("labels.x != \"a*\"", 13, "write NOT field");
  ExpectError("connect_time > 2026*", 16, "no wildcard goes with >");
  ExpectError("account_id IN (a, b*)", 19, "no wildcard goes with IN");
  ExpectError("account_id == a", 13, "expected a value");
  ExpectError("account_id = a = b", 16, "expected AND, OR or the end");
  ExpectError("account_id IN a", 15, "expected \"(\"");
  ExpectError("account_id IN ()", 16, "expected a value");
  ExpectError("account_id IN (a,)", 18, "expected a value");
  ExpectError("account_id IN (a b)", 18, "expected \",\" or \")\"");
  ExpectError("account_id IN (a", 17, "found the end");
}

TEST(TextParserTest, RefusesStarsInTheMiddle) {
  for (const char* value : {"a*b", "*a*b", "a*b*", "***", "a**"}) {
    ExpectError(absl::StrCat("labels.x = \"", value, "\""), 12,
                "a wildcard may only be first, last or both");
  }
  ExpectError("labels.x = **", 12, "must not be empty");
}

TEST(TextParserTest, RefusesWrongCharacters) {
  ExpectError("account_id = a;b", 15, "unexpected \";\"");
  ExpectError("account_id & a", 12, "unexpected \"&\"");
  ExpectError("account_id ! a", 12, "unexpected \"!\"");
  ExpectError("labels.x = caf\u00e9", 15, "unexpected \"\\303\\251\"");
  ExpectError(absl::string_view("labels.x = a\0", 13), 13, "unexpected");
  ExpectError("labels.x = \"a\tb\"", 14, "\\x09");
  ExpectError(R"(labels.x = "a\n")", 14, "unknown escape");
  ExpectError(R"(labels.x = "a\x41")", 14, "unknown escape");
  ExpectError(R"(labels.x = "a\xff")", 14, "unknown escape");
  ExpectError(R"(labels.x = "a\x0)", 14, "unknown escape");
  ExpectError("labels.x = \"a\\", 14, "unknown escape");
  // Characters are counted, not bytes.
  ExpectError("labels.x = \"\u00e9\u20ac\U0001F600\" ;", 18, "unexpected");
}

TEST(TextParserTest, RefusesWhatIsNotUtf8) {
  for (const char* bytes :
       {"\x80", "\xc0\xaf", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xe2\x82",
        "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    ExpectError(absl::StrCat("labels.x = \"", bytes, "\""), 13, "not UTF-8");
  }
}

TEST(TextParserTest, PointsAtWhatDoesNotCompile) {
  ExpectError("groups:a AND user = b", 14, "unknown field \"user\"");
  ExpectError("labels:a.b", 8, "label key");
  ExpectError("labels = a", 1, "unknown field \"labels\"");
  ExpectError("labels:*", 1, "unknown field \"labels\"");
  ExpectError("user:*", 1, "unknown field");
  ExpectError("user:a", 1, "unknown field");
  ExpectError("token_hash != a", 12, "does not take NE; it takes EQ");
  ExpectError("token_hash = a*", 12, "does not take PREFIX; it takes EQ");
  ExpectError("account_id < a", 12, "does not take LT");
  ExpectError("connection_id = 5", 17, "must be a UUID");
  ExpectError("connect_time > now", 16, "RFC 3339");
  ExpectError("credential IN (TOKEN, token)", 23, "SESSION, TOKEN or DAEMON");
  ExpectError("connect_time IN (now)", 1, "does not go with member");
  ExpectError("account_id = \"\"", 14, "must not be empty");
  ExpectError("groups:\"\"", 8, "must not be empty");
  ExpectError("account_id = " + std::string(kMaxValueBytes + 1, 'a'), 14,
              "1025 bytes, the limit is 1024");
}

TEST(TextParserTest, LimitsTheBytes) {
  std::string text = "account_id = a";
  text.resize(kMaxBytes, ' ');
  ExpectTree(text, Eq("account_id", "a"));
  ExpectError(text + " ", 1, "65537 bytes, the limit is 65536");
  // A text within the limit whose tree is not: one byte of text per value
  // becomes three.
  std::vector<std::string> parts(
      63, "account_id=" + std::string(kMaxValueBytes - 20, 'a'));
  parts.push_back("account_id IN (" +
                  absl::StrJoin(std::vector<std::string>(500, "a"), ",") + ")");
  text = absl::StrJoin(parts, " OR ");
  ASSERT_LT(text.size(), kMaxBytes);
  ExpectError(text, 1, "bytes as a tree");
}

TEST(TextParserTest, LimitsTheNesting) {
  // Hostile texts of the greatest length, which must not exhaust the stack.
  for (const char* unit : {"(", "NOT ", "-(", "NOT(", "a=b AND ("}) {
    std::string text;
    while (text.size() + 10 < kMaxBytes) text += unit;
    const auto parsed = ParseFilter(text);
    EXPECT_TRUE(absl::IsInvalidArgument(parsed.status())) << unit;
  }
  const auto wrap = [](int n) {
    return std::string(n, '(') + "groups:a" + std::string(n, ')');
  };
  ExpectTree(wrap(kMaxDepth), Eq("groups", "a"));
  ExpectError(wrap(kMaxDepth + 1), 17, "more than 16 levels");
}

TEST(TextParserTest, LimitsTheLevelsOfTheTree) {
  const auto negations = [](int n) {
    std::string text;
    for (int i = 0; i < n; ++i) text += "NOT ";
    return text + "account_id = a1";
  };
  ExpectTree(negations(kMaxDepth - 1), Deep(kMaxDepth));
  ExpectError(negations(kMaxDepth), 1, "more than 16 levels");
  // Lists count as well: 15 of them around a leaf.
  const auto lists = [](int n) {
    std::string text = "groups:a";
    for (int i = 0; i < n; ++i) {
      text = absl::StrCat("groups:b AND ", i == 0 ? "" : "(", text,
                          i == 0 ? "" : ")");
    }
    return text;
  };
  const auto parsed = ParseFilter(lists(kMaxDepth - 1));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(CompileFilter(*parsed).ok());
  ExpectError(lists(kMaxDepth), 1, "more than 16 levels");
}

TEST(TextParserTest, LimitsTheNodesAndTheSetMembers) {
  const auto any_of = [](int n) {
    return absl::StrJoin(std::vector<std::string>(n, "groups:a"), " OR ");
  };
  EXPECT_TRUE(ParseFilter(any_of(kMaxNodes - 1)).ok());
  ExpectError(any_of(kMaxNodes), 1 + 12 * (kMaxNodes - 1),
              "more than 256 nodes");
  const auto set = [](int n) {
    return "groups IN (" +
           absl::StrJoin(std::vector<std::string>(n, "a"), ",") + ")";
  };
  EXPECT_TRUE(ParseFilter(set(kMaxSetMembers)).ok());
  ExpectError(set(kMaxSetMembers + 1), 12 + 2 * kMaxSetMembers,
              "more than 4096 set members");
  ExpectError(set(kMaxSetMembers) + " OR groups IN (a)",
              set(kMaxSetMembers).size() + 16, "more than 4096 set members");
}

}  // namespace
}  // namespace broker
