// TextLexer: splits a filter's text into tokens, for ParseFilter.
//
// Not thread-safe; one per text. The text must outlive it.

#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace broker {

struct TextToken {
  enum class Kind { kEnd, kWord, kString, kOperator, kOpen, kClose, kComma };

  Kind kind = Kind::kEnd;
  size_t offset = 0;  // of its first byte in the text
  // As written; of a string, what it stands for.
  std::string text;
  // Where `text` has wildcards, that is, stars without a backslash.
  std::vector<size_t> stars;

  bool Is(absl::string_view word) const {
    return kind == Kind::kWord && absl::string_view(text) == word;
  }
};

class TextLexer {
 public:
  // A word where a value is expected may have more characters: `::1`, `eu*`.
  enum class Expect { kField, kValue };

  explicit TextLexer(absl::string_view text) : text_(text) {}

  absl::StatusOr<TextToken> Next(Expect expect);

  // INVALID_ARGUMENT for "filter": "at character N: <description>".
  absl::Status Error(size_t offset, absl::string_view description) const;

 private:
  absl::StatusOr<TextToken> Word(Expect expect);
  absl::StatusOr<TextToken> String();
  absl::Status Escape(std::string* out);
  absl::Status Unexpected(size_t offset) const;

  const absl::string_view text_;
  size_t at_ = 0;
};

}  // namespace broker
