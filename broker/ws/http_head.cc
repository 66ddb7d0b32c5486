#include "broker/ws/http_head.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace broker {
namespace {

constexpr absl::string_view kLineEnd = "\r\n";

bool IsTokenChar(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
         absl::StrContains("!#$%&'*+-.^_`|~", c);
}

bool IsToken(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsTokenChar);
}

// Field values may hold tabs and bytes over 127, but no other control bytes: a
// bare CR or LF would be a line to somebody else.
bool IsFieldValue(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return c == '\t' || (c >= 0x20 && c != 0x7f);
  });
}

bool IsTarget(absl::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), absl::ascii_isgraph);
}

absl::string_view TrimBlanks(absl::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace

std::optional<HttpHead> HttpHead::Parse(absl::string_view head) {
  HttpHead result;
  bool first = true;
  for (;;) {
    const size_t end = head.find(kLineEnd);
    if (end == absl::string_view::npos) return std::nullopt;
    const absl::string_view line = head.substr(0, end);
    head.remove_prefix(end + kLineEnd.size());
    if (line.empty()) break;
    if (first ? !result.ParseRequestLine(line) : !result.ParseField(line)) {
      return std::nullopt;
    }
    first = false;
  }
  if (first || !head.empty()) return std::nullopt;
  return result;
}

bool HttpHead::ParseRequestLine(absl::string_view line) {
  const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
  if (words.size() != 3) return false;
  method_ = words[0];
  target_ = words[1];
  version_ = words[2];
  return IsToken(method_) && IsTarget(target_) &&
         absl::StartsWith(version_, "HTTP/");
}

// A line that begins with a blank, once a continuation, has no name: an error.
bool HttpHead::ParseField(absl::string_view line) {
  const size_t colon = line.find(':');
  if (colon == absl::string_view::npos) return false;
  const absl::string_view name = line.substr(0, colon);
  const absl::string_view value = TrimBlanks(line.substr(colon + 1));
  if (!IsToken(name) || !IsFieldValue(value)) return false;
  fields_.emplace_back(name, value);
  return true;
}

size_t HttpHead::Count(absl::string_view name) const {
  return static_cast<size_t>(
      std::count_if(fields_.begin(), fields_.end(), [name](const auto& field) {
        return absl::EqualsIgnoreCase(field.first, name);
      }));
}

std::optional<absl::string_view> HttpHead::Get(absl::string_view name) const {
  for (const auto& [key, value] : fields_) {
    if (absl::EqualsIgnoreCase(key, name)) return value;
  }
  return std::nullopt;
}

std::vector<absl::string_view> HttpHead::List(absl::string_view name) const {
  std::vector<absl::string_view> elements;
  for (const auto& [key, value] : fields_) {
    if (!absl::EqualsIgnoreCase(key, name)) continue;
    for (absl::string_view element : absl::StrSplit(value, ',')) {
      element = TrimBlanks(element);
      if (!element.empty()) elements.push_back(element);
    }
  }
  return elements;
}

bool HttpHead::HasToken(absl::string_view name, absl::string_view token) const {
  const std::vector<absl::string_view> elements = List(name);
  return std::any_of(elements.begin(), elements.end(),
                     [token](absl::string_view element) {
                       return absl::EqualsIgnoreCase(element, token);
                     });
}

}  // namespace broker
