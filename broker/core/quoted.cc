#include "broker/core/quoted.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace broker {

std::string Quoted(absl::string_view value) {
  constexpr size_t kShown = 80;
  return absl::StrCat("\"", absl::CEscape(value.substr(0, kShown)),
                      value.size() > kShown ? "..." : "", "\"");
}

}  // namespace broker
