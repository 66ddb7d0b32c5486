#include "broker/session/json_reader.h"

#include <cstddef>
#include <iterator>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/container/flat_hash_set.h"

namespace broker::internal {
namespace {

using Json = nlohmann::json;

// Walks the text and leaves its position with the reader, which finds a value's
// raw form by it: nlohmann hands out values only decoded.
class TrackingIterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackingIterator(const char* at, const char** position)
      : at_(at), position_(position) {}
  reference operator*() const { return *at_; }
  TrackingIterator& operator++() {
    *position_ = ++at_;
    return *this;
  }
  TrackingIterator operator++(int) {
    TrackingIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const TrackingIterator& other) const {
    return at_ == other.at_;
  }
  bool operator!=(const TrackingIterator& other) const {
    return at_ != other.at_;
  }

 private:
  const char* at_;
  const char** position_;
};

// The keys of one object. Most have few, which are compared one by one in
// strings that are used again; beyond those a hash set takes over, so that an
// object with a great many costs no more for each.
class KeySet {
 public:
  void Clear() {
    few_count_ = 0;
    many_.clear();
  }

  // False: it is there already.
  bool Insert(const std::string& key) {
    for (size_t i = 0; i < few_count_; ++i) {
      if (few_[i] == key) return false;
    }
    if (few_count_ == kFew) return many_.insert(key).second;
    if (few_.size() == few_count_) few_.emplace_back();
    few_[few_count_++] = key;
    return true;
  }

 private:
  static constexpr size_t kFew = 12;
  std::vector<std::string> few_;  // the first few_count_ are in use
  size_t few_count_ = 0;
  absl::flat_hash_set<std::string> many_;
};

class Sax final : public nlohmann::json_sax<Json> {
 public:
  Sax(int max_depth, JsonVisitor& visitor)
      : max_depth_(static_cast<size_t>(max_depth)), visitor_(visitor) {
    levels_.reserve(8);
  }

  const char** position() { return &position_; }
  JsonFault fault() const { return fault_; }

  bool null() override { return Value(JsonType::kNull, kNoString); }
  bool boolean(bool) override { return Value(JsonType::kBool, kNoString); }
  bool number_integer(number_integer_t) override {
    return Value(JsonType::kInteger, kNoString);
  }
  bool number_unsigned(number_unsigned_t) override {
    return Value(JsonType::kInteger, kNoString);
  }
  bool number_float(number_float_t, const string_t& raw) override {
    // An integer beyond 64 bits comes as a float, too.
    const bool integer = raw.find_first_of(".eE") == std::string::npos;
    return Value(integer ? JsonType::kInteger : JsonType::kNumber, kNoString);
  }
  bool string(string_t& value) override {
    return Value(JsonType::kString, value);
  }
  bool binary(binary_t&) override { return Fail(JsonFault::kMalformed); }
  bool start_object(size_t) override { return Begin(JsonType::kObject); }
  bool start_array(size_t) override { return Begin(JsonType::kArray); }
  bool end_object() override { return End(); }
  bool end_array() override { return End(); }
  bool parse_error(size_t, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Fail(JsonFault::kMalformed);
  }

  bool key(string_t& name) override {
    if (!levels_[depth_ - 1].keys.Insert(name)) {
      return Fail(JsonFault::kDuplicateKey);
    }
    if (depth_ == 1) key_ = name;
    if (depth_ == 2) inner_key_ = name;
    after_key_ = position_;
    return true;
  }

 private:
  struct Level {
    bool object = false;
    KeySet keys;
  };

  bool Fail(JsonFault fault) {
    fault_ = fault;
    return false;
  }

  bool Value(JsonType type, const std::string& string) {
    if (depth_ == 0) {
      visitor_.OnText(type);
    } else if (depth_ == 1 && levels_[0].object) {
      visitor_.OnMember(key_, type, Raw(type), string);
    } else if (depth_ == 2 && levels_[0].object && levels_[1].object) {
      visitor_.OnInnerMember(key_, inner_key_, type);
    }
    return true;
  }

  bool Begin(JsonType type) {
    if (depth_ == max_depth_) return Fail(JsonFault::kTooDeep);
    Value(type, kNoString);
    if (depth_ == 1) member_ = position_ - 1;
    // A level is used again, so that siblings cost no allocation.
    if (levels_.size() == depth_) levels_.emplace_back();
    levels_[depth_].object = type == JsonType::kObject;
    levels_[depth_].keys.Clear();
    ++depth_;
    return true;
  }

  bool End() {
    --depth_;
    if (depth_ == 1 && levels_[0].object) {
      visitor_.OnMemberEnd(key_,
                           {member_, static_cast<size_t>(position_ - member_)});
    }
    return true;
  }

  // The value that was read last: from behind its key to where the lexer is,
  // which of a number has already read the byte behind it.
  absl::string_view Raw(JsonType type) const {
    if (type == JsonType::kObject || type == JsonType::kArray) return {};
    absl::string_view raw(after_key_,
                          static_cast<size_t>(position_ - after_key_));
    const size_t begin = raw.find_first_not_of(": \t\r\n");
    raw.remove_prefix(begin == absl::string_view::npos ? raw.size() : begin);
    if (type == JsonType::kInteger || type == JsonType::kNumber) {
      raw = raw.substr(0, raw.find_first_not_of("+-.0123456789eE"));
    }
    return raw;
  }

  static inline const std::string kNoString;

  const size_t max_depth_;
  JsonVisitor& visitor_;
  JsonFault fault_ = JsonFault::kNone;
  std::vector<Level> levels_;
  size_t depth_ = 0;  // how many of levels_ are open
  std::string key_;
  std::string inner_key_;
  const char* position_ = nullptr;
  const char* after_key_ = nullptr;
  const char* member_ = nullptr;  // where the object or array in one begins
};

}  // namespace

JsonFault ReadJson(absl::string_view text, int max_depth,
                   JsonVisitor& visitor) {
  // nlohmann takes a NUL for the end, and skips a byte order mark: what comes
  // behind the one, and the other, would be relayed unread.
  constexpr absl::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.find('\0') != absl::string_view::npos ||
      text.substr(0, 3) == kByteOrderMark) {
    return JsonFault::kMalformed;
  }
  Sax sax(max_depth, visitor);
  const char* const end = text.data() + text.size();
  Json::sax_parse(TrackingIterator(text.data(), sax.position()),
                  TrackingIterator(end, sax.position()), &sax);
  return sax.fault();
}

}  // namespace broker::internal
