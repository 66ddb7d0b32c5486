#include "broker/session/json_string.h"

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/strings/ascii.h"

namespace broker::internal {
namespace {

uint8_t Byte(absl::string_view text, size_t i) {
  return i < text.size() ? static_cast<uint8_t>(text[i]) : 0;
}

// How many bytes the code point is that a text begins with, which is not ASCII;
// 0 when it is none: the Unicode Standard's table 3-7.
size_t CodePointSize(absl::string_view text) {
  const uint8_t first = Byte(text, 0);
  const size_t size = first >= 0xc2 && first <= 0xdf   ? 2
                      : first >= 0xe0 && first <= 0xef ? 3
                      : first >= 0xf0 && first <= 0xf4 ? 4
                                                       : 0;
  // The second byte may be less than a continuation where the whole would be
  // too long a form, a surrogate, or beyond the last code point.
  const uint8_t least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const uint8_t most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (size == 0 || Byte(text, 1) < least || Byte(text, 1) > most) return 0;
  for (size_t i = 2; i < size; ++i) {
    if ((Byte(text, i) & 0xc0) != 0x80) return 0;
  }
  return size;
}

void AppendUtf8(uint32_t code_point, std::string& out) {
  const auto tail = [&](int shift) {
    out += static_cast<char>(0x80 | (code_point >> shift & 0x3f));
  };
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xc0 | code_point >> 6);
    tail(0);
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xe0 | code_point >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0 | code_point >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

// Takes "uXXXX".
std::optional<uint32_t> TakeUnit(absl::string_view& rest) {
  if (Byte(rest, 0) != 'u') return std::nullopt;
  uint32_t unit = 0;
  for (size_t i = 1; i <= 4; ++i) {
    const uint8_t c = Byte(rest, i);
    if (!absl::ascii_isxdigit(c)) return std::nullopt;
    unit = unit << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10u);
  }
  rest.remove_prefix(5);
  return unit;
}

// Takes what is behind a backslash.
bool TakeEscape(absl::string_view& rest, std::string& out) {
  static constexpr absl::string_view kShort = "\"\\/bfnrt";
  static constexpr absl::string_view kMeaning = "\"\\/\b\f\n\r\t";
  if (rest.empty()) return false;
  const size_t which = kShort.find(rest[0]);
  if (which != absl::string_view::npos) {
    out += kMeaning[which];
    rest.remove_prefix(1);
    return true;
  }
  std::optional<uint32_t> unit = TakeUnit(rest);
  if (!unit || (*unit >= 0xdc00 && *unit < 0xe000)) return false;
  if (*unit < 0xd800 || *unit >= 0xe000) {
    AppendUtf8(*unit, out);
    return true;
  }
  if (Byte(rest, 0) != '\\') return false;
  rest.remove_prefix(1);
  const std::optional<uint32_t> low = TakeUnit(rest);
  if (!low || *low < 0xdc00 || *low >= 0xe000) return false;
  AppendUtf8(0x10000 + ((*unit - 0xd800) << 10) + (*low - 0xdc00), out);
  return true;
}

// The length of what can be taken as it stands: to a quote, a backslash, or
// what is not allowed.
size_t PlainSize(absl::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const uint8_t c = Byte(text, i);
    if (c == '"' || c == '\\' || c < 0x20) break;
    const size_t size = c < 0x80 ? 1 : CodePointSize(text.substr(i));
    if (size == 0) break;
    i += size;
  }
  return i;
}

}  // namespace

bool TakeJsonString(absl::string_view& rest, absl::string_view& raw,
                    absl::string_view& string, std::string& scratch) {
  const absl::string_view from_here = rest;
  if (Byte(rest, 0) != '"') return false;
  rest.remove_prefix(1);
  string = rest.substr(0, PlainSize(rest));
  rest.remove_prefix(string.size());
  if (Byte(rest, 0) == '\\') {
    scratch.assign(string.data(), string.size());
    while (Byte(rest, 0) == '\\') {
      rest.remove_prefix(1);
      if (!TakeEscape(rest, scratch)) return false;
      const absl::string_view plain = rest.substr(0, PlainSize(rest));
      scratch.append(plain.data(), plain.size());
      rest.remove_prefix(plain.size());
    }
    string = scratch;
  }
  if (Byte(rest, 0) != '"') return false;
  rest.remove_prefix(1);
  raw = from_here.substr(0, from_here.size() - rest.size());
  return true;
}

}  // namespace broker::internal
