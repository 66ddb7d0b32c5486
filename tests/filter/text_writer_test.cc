// The text that FilterToText writes, and that ParseFilter reads it back.

#include "broker/filter/text_writer.h"

#include <gtest/gtest.h>

#include "broker/filter/text_parser.h"
#include "tests/filter/filter_testing.h"

namespace broker {
namespace {

using namespace filter_testing;

// The tree is written as the text, which is read back as the same tree.
void ExpectText(const FilterExpr& tree, const std::string& text) {
  EXPECT_EQ(FilterToText(tree), text);
  const auto parsed = ParseFilter(text);
  ASSERT_TRUE(parsed.ok()) << text << ": " << parsed.status();
  EXPECT_EQ(parsed->ShortDebugString(), tree.ShortDebugString());
}

TEST(TextWriterTest, WritesLeaves) {
  const char* texts[] = {
      "labels.x = \"v\"",  "labels.x != \"v\"", "labels.x < \"v\"",
      "labels.x <= \"v\"", "labels.x > \"v\"",  "labels.x >= \"v\"",
      "labels.x = \"v*\"", "labels.x = \"*v\"", "labels.x = \"*v*\"",
  };
  for (int op = 1; op <= 9; ++op) {
    const auto tree =
        Compare("labels.x", static_cast<FilterComparison::Operator>(op), "v");
    EXPECT_EQ(FilterToText(tree), texts[op - 1]);
  }
  ExpectText(Eq("groups", "a"), "groups:\"a\"");
  ExpectText(Compare("groups", FilterComparison::OPERATOR_NE, "a"),
             "groups != \"a\"");
  ExpectText(Compare("groups", FilterComparison::OPERATOR_PREFIX, "a"),
             "groups:\"a*\"");
  ExpectText(Member("account_id", {"a", "b"}), "account_id IN (\"a\", \"b\")");
  ExpectText(Present("labels.x"), "labels.x:*");
}

TEST(TextWriterTest, EscapesValues) {
  ExpectText(Eq("labels.x", ""), "labels.x = \"\"");
  ExpectText(Eq("groups", "*"), "groups:\"\\*\"");
  ExpectText(Compare("labels.x", FilterComparison::OPERATOR_CONTAINS, "*a\"\\"),
             "labels.x = \"*\\*a\\\"\\\\*\"");
  ExpectText(Eq("labels.x", std::string("\0\n\x7f'\u00e9", 6)),
             "labels.x = \"\\x00\\x0a\\x7f'\u00e9\"");
  ExpectText(Member("labels.x", {"*", "a,b)"}),
             "labels.x IN (\"\\*\", \"a,b)\")");
}

TEST(TextWriterTest, WritesParenthesesWhereTheyAreNeeded) {
  const FilterExpr a = Present("account_id");
  const FilterExpr g = Present("groups");
  ExpectText(AllOf({a, g, a}), "account_id:* AND groups:* AND account_id:*");
  ExpectText(AnyOf({a, AllOf({g, a})}),
             "account_id:* OR (groups:* AND account_id:*)");
  ExpectText(AllOf({AllOf({a, g}), a}),
             "(account_id:* AND groups:*) AND account_id:*");
  ExpectText(Not(AnyOf({a, g})), "NOT (account_id:* OR groups:*)");
  ExpectText(Not(Not(a)), "NOT NOT account_id:*");
  ExpectText(AllOf({Not(a), g}), "NOT account_id:* AND groups:*");
}

TEST(TextWriterTest, WritesAListOfOneAsItsPart) {
  const FilterExpr a = Present("account_id");
  const FilterExpr g = Present("groups");
  EXPECT_EQ(FilterToText(AllOf({a})), "account_id:*");
  EXPECT_EQ(FilterToText(Not(AnyOf({AllOf({a})}))), "NOT account_id:*");
  EXPECT_EQ(FilterToText(AnyOf({AllOf({a, g})})), "account_id:* AND groups:*");
  EXPECT_EQ(FilterToText(AllOf({g, AnyOf({AllOf({a, g})})})),
            "groups:* AND (account_id:* AND groups:*)");
}

TEST(TextWriterTest, SurvivesTreesThatDoNotCompile) {
  EXPECT_EQ(FilterToText(FilterExpr()), "");
  EXPECT_EQ(FilterToText(AllOf({})), "");
  EXPECT_EQ(FilterToText(Member("groups", {})), "groups IN ()");
  EXPECT_LT(FilterToText(Deep(5000)).size(), 100u);
}

}  // namespace
}  // namespace broker
