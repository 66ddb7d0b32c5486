#include "broker/filter/text_lexer.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "broker/core/quoted.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/filter/fields.h"

namespace broker {
namespace {

using Kind = TextToken::Kind;

bool IsWordChar(char c, TextLexer::Expect expect) {
  if (absl::ascii_isalnum(c)) return true;
  const absl::string_view others =
      expect == TextLexer::Expect::kField ? "_-." : "_-.:/@+*";
  return absl::StrContains(others, absl::string_view(&c, 1));
}

// The size of the UTF-8 sequence that `text` starts with; 0 when it starts with
// none. Values become protobuf strings, which hold nothing else.
size_t Utf8Size(absl::string_view text) {
  const auto byte = [text](size_t i) {
    return static_cast<unsigned char>(text[i]);
  };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t size = lead < 0xc2   ? 0
                      : lead < 0xe0 ? 2
                      : lead < 0xf0 ? 3
                      : lead < 0xf5 ? 4
                                    : 0;
  if (size == 0 || text.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  }
  // Overlong forms, surrogates, and what lies beyond U+10FFFF.
  if ((lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f) ||
      (lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f)) {
    return 0;
  }
  return size;
}

// The operator that `text` starts with; empty when it starts with none.
absl::string_view OperatorAt(absl::string_view text) {
  static constexpr absl::string_view kOperators[] = {"!=", "<=", ">=", "=",
                                                     "<",  ">",  ":"};
  const auto* found = std::find_if(
      std::begin(kOperators), std::end(kOperators),
      [text](absl::string_view op) { return absl::StartsWith(text, op); });
  return found == std::end(kOperators) ? "" : *found;
}

}  // namespace

absl::Status TextLexer::Error(size_t offset,
                              absl::string_view description) const {
  // Characters, not bytes: every byte that does not continue one.
  const auto end = text_.begin() + std::min(offset, text_.size());
  const auto before = std::count_if(text_.begin(), end, [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  });
  return InvalidField(
      "filter", absl::StrCat("at character ", before + 1, ": ", description));
}

absl::Status TextLexer::Unexpected(size_t offset) const {
  const size_t size = std::max<size_t>(Utf8Size(text_.substr(offset)), 1);
  return Error(offset,
               absl::StrCat("unexpected ", Quoted(text_.substr(offset, size)),
                            "; a value with other characters than "
                            "A-Z a-z 0-9 _ - . : / @ + needs quotes"));
}

absl::StatusOr<TextToken> TextLexer::Next(Expect expect) {
  while (at_ < text_.size() &&
         absl::StrContains(" \t\r\n", text_.substr(at_, 1))) {
    ++at_;
  }
  if (at_ == text_.size()) return TextToken{Kind::kEnd, at_, "", {}};
  const char c = text_[at_];
  if (c == '"' || c == '\'') return String();
  // Before the operators, as the word of a value may start with a colon.
  if (IsWordChar(c, expect)) return Word(expect);
  const auto take = [this](Kind kind, size_t size) {
    const size_t offset = at_;
    at_ += size;
    return TextToken{kind, offset, std::string(text_.substr(offset, size)), {}};
  };
  if (c == '(') return take(Kind::kOpen, 1);
  if (c == ')') return take(Kind::kClose, 1);
  if (c == ',') return take(Kind::kComma, 1);
  if (const auto op = OperatorAt(text_.substr(at_)); !op.empty()) {
    return take(Kind::kOperator, op.size());
  }
  return Unexpected(at_);
}

absl::StatusOr<TextToken> TextLexer::Word(Expect expect) {
  TextToken token{Kind::kWord, at_, "", {}};
  while (at_ < text_.size() && IsWordChar(text_[at_], expect)) {
    if (text_[at_] == '*') token.stars.push_back(token.text.size());
    token.text += text_[at_++];
  }
  return token;
}

absl::StatusOr<TextToken> TextLexer::String() {
  TextToken token{Kind::kString, at_, "", {}};
  const char quote = text_[at_++];
  while (at_ < text_.size() && text_[at_] != quote) {
    const char c = text_[at_];
    if (c == '\\') {
      BROKER_RETURN_IF_ERROR(Escape(&token.text));
      continue;
    }
    const size_t size = Utf8Size(text_.substr(at_));
    if (size == 0) return Error(at_, "the text is not UTF-8");
    if (absl::ascii_iscntrl(c)) {
      return Error(
          at_, absl::StrCat("write the control character as \\x",
                            absl::BytesToHexString(absl::string_view(&c, 1))));
    }
    if (c == '*') token.stars.push_back(token.text.size());
    absl::StrAppend(&token.text, text_.substr(at_, size));
    at_ += size;
  }
  if (at_ == text_.size()) {
    return Error(token.offset, "the quote is never closed");
  }
  ++at_;
  return token;
}

// \" \' \\ \* stand for the second character, \x1b for a control character.
absl::Status TextLexer::Escape(std::string* out) {
  const absl::string_view rest = text_.substr(at_ + 1);
  if (!rest.empty() && absl::StrContains("\"'\\*", rest.substr(0, 1))) {
    *out += rest[0];
    at_ += 2;
    return absl::OkStatus();
  }
  if (rest.size() >= 3 && rest[0] == 'x' && absl::ascii_isxdigit(rest[1]) &&
      absl::ascii_isxdigit(rest[2])) {
    const std::string byte = absl::HexStringToBytes(rest.substr(1, 2));
    if (absl::ascii_iscntrl(byte[0])) {
      *out += byte;
      at_ += 4;
      return absl::OkStatus();
    }
  }
  return Error(at_,
               "unknown escape; the escapes are \\\" \\' \\\\ \\* and, for "
               "control characters only, \\x00 to \\x1f and \\x7f");
}

}  // namespace broker
