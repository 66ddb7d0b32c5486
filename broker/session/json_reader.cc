#include "broker/session/json_reader.h"

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "broker/session/json_string.h"

namespace broker::internal {
namespace {

// Fewer digits than this are a finite number, whatever they are.
constexpr size_t kSurelyFinite = 300;

// The keys of one object. Most have few, which are compared one by one in
// strings that are used again, and cost no allocation when they are short;
// beyond those a hash set takes over, so that an object with a great many costs
// no more for each.
class KeySet {
 public:
  void Clear() {
    few_count_ = 0;
    many_.clear();
  }

  // False: it is there already.
  bool Insert(absl::string_view key) {
    for (size_t i = 0; i < few_count_; ++i) {
      if (few_[i] == key) return false;
    }
    if (few_count_ == kFew) return many_.insert(std::string(key)).second;
    if (few_.size() == few_count_) few_.emplace_back();
    few_[few_count_++].assign(key.data(), key.size());
    return true;
  }

 private:
  static constexpr size_t kFew = 12;
  // The first few_count_ are in use.
  absl::InlinedVector<std::string, 4> few_;
  size_t few_count_ = 0;
  absl::flat_hash_set<std::string> many_;
};

// Walks the text by its grammar (RFC 8259). What is open is in levels_, so that
// a deep text costs no stack.
class Reader {
 public:
  Reader(absl::string_view text, int max_depth, JsonVisitor& visitor)
      : rest_(text),
        max_depth_(static_cast<size_t>(max_depth)),
        visitor_(visitor) {}

  JsonFault Read() {
    do {
      SkipBlanks();
    } while (ReadValue() && ReadToNextValue());
    return fault_;
  }

 private:
  struct Level {
    bool object = false;
    bool empty = true;  // so far
    KeySet keys;
  };

  bool Fail(JsonFault fault) {
    fault_ = fault;
    return false;
  }

  void SkipBlanks() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t' ||
                              rest_[0] == '\r' || rest_[0] == '\n')) {
      rest_.remove_prefix(1);
    }
  }

  bool Take(char c) {
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  // A whole value, or the bracket that begins one.
  bool ReadValue() {
    switch (rest_.empty() ? '\0' : rest_[0]) {
      case '{':
        return Begin(JsonType::kObject);
      case '[':
        return Begin(JsonType::kArray);
      case '"':
        return ReadStringValue();
      case 't':
        return ReadLiteral("true", JsonType::kBool);
      case 'f':
        return ReadLiteral("false", JsonType::kBool);
      case 'n':
        return ReadLiteral("null", JsonType::kNull);
      default:
        return ReadNumber();
    }
  }

  // From behind a value to before the next one. False at the end of the text,
  // which is a fault when something is open or something follows.
  bool ReadToNextValue() {
    for (;;) {
      SkipBlanks();
      if (depth_ == 0) {
        return rest_.empty() ? false : Fail(JsonFault::kMalformed);
      }
      Level& level = levels_[depth_ - 1];
      if (Take(level.object ? '}' : ']')) {
        --depth_;
        continue;
      }
      if (!level.empty && !Take(',')) return Fail(JsonFault::kMalformed);
      level.empty = false;
      return !level.object || ReadKey(level);
    }
  }

  bool ReadKey(Level& level) {
    SkipBlanks();
    absl::string_view raw;
    absl::string_view key;
    if (!TakeJsonString(rest_, raw, key, scratch_)) {
      return Fail(JsonFault::kMalformed);
    }
    if (!level.keys.Insert(key)) return Fail(JsonFault::kDuplicateKey);
    if (depth_ == 1) key_.assign(key.data(), key.size());
    if (depth_ == 2) inner_key_.assign(key.data(), key.size());
    SkipBlanks();
    return Take(':') || Fail(JsonFault::kMalformed);
  }

  bool Begin(JsonType type) {
    if (depth_ == max_depth_) return Fail(JsonFault::kTooDeep);
    Tell(type, {}, {});
    rest_.remove_prefix(1);
    // A level is used again, so that siblings cost no allocation.
    if (levels_.size() == depth_) levels_.emplace_back();
    Level& level = levels_[depth_++];
    level.object = type == JsonType::kObject;
    level.empty = true;
    level.keys.Clear();
    return true;
  }

  bool ReadStringValue() {
    absl::string_view raw;
    absl::string_view string;
    if (!TakeJsonString(rest_, raw, string, scratch_)) {
      return Fail(JsonFault::kMalformed);
    }
    return Tell(JsonType::kString, raw, string);
  }

  bool ReadLiteral(absl::string_view word, JsonType type) {
    if (!absl::StartsWith(rest_, word)) return Fail(JsonFault::kMalformed);
    rest_.remove_prefix(word.size());
    return Tell(type, word, {});
  }

  size_t TakeDigits() {
    size_t count = 0;
    while (count < rest_.size() &&
           absl::ascii_isdigit(static_cast<unsigned char>(rest_[count]))) {
      ++count;
    }
    rest_.remove_prefix(count);
    return count;
  }

  bool ReadNumber() {
    const absl::string_view from_here = rest_;
    Take('-');
    if (!Take('0') && TakeDigits() == 0) return Fail(JsonFault::kMalformed);
    JsonType type = JsonType::kInteger;
    if (Take('.')) {
      type = JsonType::kNumber;
      if (TakeDigits() == 0) return Fail(JsonFault::kMalformed);
    }
    if (Take('e') || Take('E')) {
      type = JsonType::kNumber;
      if (!Take('+')) Take('-');
      if (TakeDigits() == 0) return Fail(JsonFault::kMalformed);
    }
    const absl::string_view raw =
        from_here.substr(0, from_here.size() - rest_.size());
    // One that no double can hold would be something else to each reader.
    if ((type == JsonType::kNumber || raw.size() > kSurelyFinite) &&
        !std::isfinite(std::strtod(std::string(raw).c_str(), nullptr))) {
      return Fail(JsonFault::kMalformed);
    }
    return Tell(type, raw, {});
  }

  bool Tell(JsonType type, absl::string_view raw, absl::string_view string) {
    if (depth_ == 0) {
      visitor_.OnText(type);
    } else if (depth_ == 1 && levels_[0].object) {
      visitor_.OnMember(key_, type, raw, string);
    } else if (depth_ == 2 && levels_[0].object && levels_[1].object) {
      visitor_.OnInnerMember(key_, inner_key_, type);
    }
    return true;
  }

  absl::string_view rest_;
  const size_t max_depth_;
  JsonVisitor& visitor_;
  JsonFault fault_ = JsonFault::kNone;
  absl::InlinedVector<Level, 2> levels_;
  size_t depth_ = 0;  // how many of levels_ are open
  std::string key_;
  std::string inner_key_;
  std::string scratch_;
};

}  // namespace

JsonFault ReadJson(absl::string_view text, int max_depth,
                   JsonVisitor& visitor) {
  return Reader(text, max_depth, visitor).Read();
}

}  // namespace broker::internal
