// The reader against nlohmann's: of any text both say the same.

#include "broker/session/json_reader.h"

#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace broker::internal {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 4;

// What a visitor is told, one line a call, and how it ended.
struct Told final : JsonVisitor {
  std::vector<std::string> lines;
  std::vector<std::string> raws;
  JsonFault fault = JsonFault::kNone;

  void OnText(JsonType type) override {
    lines.push_back(absl::StrCat("text ", static_cast<int>(type)));
  }
  void OnMember(absl::string_view key, JsonType type, absl::string_view raw,
                absl::string_view string) override {
    lines.push_back(
        absl::StrCat(key, " = ", static_cast<int>(type), " ", string));
    if (!raw.empty()) raws.push_back(std::string(raw));
  }
  void OnInnerMember(absl::string_view key, absl::string_view inner,
                     JsonType type) override {
    lines.push_back(
        absl::StrCat(key, ".", inner, " = ", static_cast<int>(type)));
  }
};

// The same by nlohmann's lexer and parser.
class Model final : public nlohmann::json_sax<Json> {
 public:
  static Told Read(const std::string& text) {
    Model model;
    Json::sax_parse(text, &model);
    return model.told_;
  }

  bool null() override { return Value(JsonType::kNull); }
  bool boolean(bool) override { return Value(JsonType::kBool); }
  bool number_integer(number_integer_t) override {
    return Value(JsonType::kInteger);
  }
  bool number_unsigned(number_unsigned_t) override {
    return Value(JsonType::kInteger);
  }
  bool number_float(number_float_t, const string_t& raw) override {
    return Value(raw.find_first_of(".eE") == std::string::npos
                     ? JsonType::kInteger
                     : JsonType::kNumber);
  }
  bool string(string_t& value) override {
    return Value(JsonType::kString, value);
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return Begin(JsonType::kObject); }
  bool start_array(size_t) override { return Begin(JsonType::kArray); }
  bool end_object() override { return End(); }
  bool end_array() override { return End(); }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) {
      return Fail(JsonFault::kDuplicateKey);
    }
    (keys_.size() == 1 ? key_ : inner_key_) = name;
    return true;
  }
  bool parse_error(size_t, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(JsonFault::kMalformed);
  }

 private:
  bool Fail(JsonFault fault) {
    told_.fault = fault;
    return false;
  }
  bool Value(JsonType type, const std::string& string = "") {
    const auto object = [this](size_t i) {
      return types_[i] == JsonType::kObject;
    };
    if (types_.empty()) {
      told_.OnText(type);
    } else if (types_.size() == 1 && object(0)) {
      told_.OnMember(key_, type, "", string);
    } else if (types_.size() == 2 && object(0) && object(1)) {
      told_.OnInnerMember(key_, inner_key_, type);
    }
    return true;
  }
  bool Begin(JsonType type) {
    if (types_.size() == kMaxDepth) return Fail(JsonFault::kTooDeep);
    Value(type);
    types_.push_back(type);
    keys_.emplace_back();
    return true;
  }
  bool End() {
    types_.pop_back();
    keys_.pop_back();
    return true;
  }

  Told told_;
  std::vector<JsonType> types_;
  std::vector<std::set<std::string>> keys_;
  std::string key_;
  std::string inner_key_;
};

// Whether it is JSON within the limits.
bool ExpectTheSame(const std::string& text) {
  Told told;
  told.fault = ReadJson(text, kMaxDepth, told);
  // nlohmann takes a NUL for the end, and skips a byte order mark.
  if (text.find('\0') != std::string::npos || text.rfind("\xef\xbb\xbf") == 0) {
    EXPECT_NE(told.fault, JsonFault::kNone) << text;
    return false;
  }
  const Told model = Model::Read(text);
  EXPECT_EQ(told.fault, model.fault) << text;
  EXPECT_EQ(told.lines, model.lines) << text;
  for (const std::string& raw : told.raws) {
    EXPECT_TRUE(Json::accept(raw)) << raw << " in " << text;
  }
  return told.fault == JsonFault::kNone;
}

class JsonReaderTest : public ::testing::Test {
 protected:
  template <size_t kSize>
  std::string Any(const char* const (&of)[kSize]) {
    return of[random_() % kSize];
  }
  std::string Blank() { return Any({"", "", "", " ", "\n", "\t \r"}); }
  std::string String() {
    std::string out = "\"";
    for (auto i = random_() % 4; i > 0; --i) {
      out += Any({"a",
                  "id",
                  "\\\"",
                  "\\\\",
                  "\\/",
                  "\\n",
                  "\\u0061",
                  "\\u0000",
                  "\\ud83d\\ude00",
                  "\\uD83D",
                  "\\ude00",
                  "\\u12",
                  "\\x",
                  "\xc3\xa9",
                  "\xe2\x82\xac",
                  "\xf0\x9f\x98\x80",
                  "\xed\xa0\x80",
                  "\xc0\xaf",
                  "\xe0\x80\x80",
                  "\xf4\x90\x80\x80",
                  "\x7f",
                  "\x1f",
                  "a long one, longer than a string has room for"});
    }
    return out + "\"";
  }
  std::string Scalar() {
    return random_() % 2 == 0
               ? String()
               : Any({"0",      "-0",      "12",
                      "-7",     "1.5",     "1e5",
                      "1E-2",   "-0.0e+1", "01",
                      "1.",     ".5",      "-",
                      "+1",     "1e",      "1e999",
                      "-1e999", "1e-999",  "123456789012345678901234567890",
                      "true",   "false",   "null",
                      "nul",    "truer",   "NaN"});
  }
  std::string Value(int depth) {
    const auto kind = depth == 0 ? 0 : random_() % 3;
    if (kind == 0) return Scalar();
    std::string out(1, kind == 1 ? '{' : '[');
    const auto count = random_() % 4;
    for (size_t i = 0; i < count; ++i) {
      absl::StrAppend(&out, i == 0 ? "" : ",", Blank());
      if (kind == 1) {
        absl::StrAppend(&out, random_() % 2 == 0 ? String() : Key(), Blank(),
                        ":", Blank());
      }
      absl::StrAppend(&out, Value(depth - 1), Blank());
    }
    return out + (kind == 1 ? '}' : ']');
  }
  std::string Key() { return absl::StrCat("\"k", random_() % 50, "\""); }
  void Spoil(std::string& text) {
    const size_t at = random_() % (text.size() + 1);
    switch (random_() % 3) {
      case 0:
        text.insert(at, Any({"{", "}", "[", "]", ",", ":", "\"", "\\", "0", "e",
                             " ", "\x01", "\x80", "\xff", "\xef\xbb\xbf"}));
        break;
      case 1:
        text.erase(at, 1 + random_() % 3);
        break;
      case 2:
        text.insert(at, 1, static_cast<char>(random_()));
        break;
    }
  }

  std::mt19937 random_{7};
};

TEST_F(JsonReaderTest, SaysOfAnyTextWhatNlohmannSays) {
  int good = 0;
  for (int i = 0; i < 30'000; ++i) {
    std::string text = Blank() + Value(kMaxDepth + 1) + Blank();
    for (auto spoils = random_() % 3; spoils > 0; --spoils) Spoil(text);
    good += ExpectTheSame(text);
    if (HasFailure()) return;
  }
  EXPECT_GT(good, 3'000);
  EXPECT_LT(good, 27'000);
}

TEST_F(JsonReaderTest, KnowsTheEdges) {
  for (const char* text :
       {"",        " ",   "{",       "[",    "\"",         "{\"", "{\"a\"",
        "{\"a\":", "{,}", "[,]",     "[1,]", "{\"a\":1,}", "[]]", "{}{}",
        "[}",      "{]",  "\"\\u\"", "\"\\", "-",          "1 2"}) {
    ExpectTheSame(text);
  }
  for (const size_t digits : {299, 300, 308, 309, 310, 5'000}) {
    ExpectTheSame(std::string(digits, '9'));
    ExpectTheSame("-" + std::string(digits, '9'));
  }
  std::string many = "{";
  for (int i = 0; i < 40; ++i) absl::StrAppend(&many, "\"key ", i, "\":0,");
  ExpectTheSame(many + "\"new\":0}");
  ExpectTheSame(many + "\"key 3\":0}");
  ExpectTheSame(many + "\"key 39\":0}");
  ExpectTheSame("{\"ab\":0,\"a\\u0062\":0}");
}

}  // namespace
}  // namespace broker::internal
