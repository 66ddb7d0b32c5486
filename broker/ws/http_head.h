// HttpHead: an HTTP/1.1 request head, split strictly (RFC 9112): what is not
// unmistakable is an error, since a proxy may have read it differently.
//
// Pure; views into the head that was given, which must outlive it.

#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace broker {

class HttpHead {
 public:
  // The head with the empty line that ends it. None: it is malformed.
  static std::optional<HttpHead> Parse(absl::string_view head);

  absl::string_view method() const { return method_; }
  absl::string_view target() const { return target_; }
  absl::string_view version() const { return version_; }

  // In their order.
  const std::vector<std::pair<absl::string_view, absl::string_view>>& fields()
      const {
    return fields_;
  }
  // Names in any case.
  size_t Count(absl::string_view name) const;
  // The first value, without surrounding white space.
  std::optional<absl::string_view> Get(absl::string_view name) const;
  // The elements of all headers of the name, which are comma-separated lists.
  std::vector<absl::string_view> List(absl::string_view name) const;
  // Whether the list has the token, in any case.
  bool HasToken(absl::string_view name, absl::string_view token) const;

 private:
  bool ParseRequestLine(absl::string_view line);
  bool ParseField(absl::string_view line);

  absl::string_view method_;
  absl::string_view target_;
  absl::string_view version_;
  std::vector<std::pair<absl::string_view, absl::string_view>> fields_;
};

}  // namespace broker
