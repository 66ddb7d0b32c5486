// YAML, as far as the configuration needs it: a text becomes a tree of texts,
// and a message becomes a text. JSON is YAML too.
//
// What a text means is decided by the field it is for (config_map.h), so there
// is no country "no" that turns into a boolean. Pure functions, for any thread.

#pragma once

#include <google/protobuf/message.h>

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace broker {

struct ConfigValue {
  enum class Kind { kNull, kScalar, kList, kMap };

  Kind kind = Kind::kNull;
  int line = 0;                    // in its text, from 1; 0: it has none
  std::string scalar;              // of a kScalar
  std::vector<std::string> keys;   // of a kMap, one for each item; no repeats
  std::vector<ConfigValue> items;  // of a kList or a kMap
};

// An empty text is a kNull. INVALID_ARGUMENT says what is wrong and begins with
// the line, such as "3: ".
absl::StatusOr<ConfigValue> ParseYaml(absl::string_view text);

// All fields that are set, by their names in the order of their numbers.
std::string WriteYaml(const google::protobuf::Message& message);

}  // namespace broker
