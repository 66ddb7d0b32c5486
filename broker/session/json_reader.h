// JsonReader: walks a JSON text once, without a document and without recursion,
// and hands out what stands at its first two levels.
//
// It refuses what the envelope's promises forbid: depth, keys given twice, NUL
// and a byte order mark. For broker/session only; a reader reads one text, on
// one thread.

#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace broker::internal {

enum class JsonType : uint8_t {
  kNull,
  kBool,
  kInteger,
  kNumber,  // not an integer
  kString,
  kObject,
  kArray,
};

// Told of values as they begin.
class JsonVisitor {
 public:
  virtual ~JsonVisitor() = default;
  // The text itself is of this type.
  virtual void OnText(JsonType type) = 0;
  // A member of the object that is the text. `raw` is the value as it stands
  // there, a part of the text, and `string` what it decodes to when it is a
  // string, which only lives during the call. `raw` is empty for an object and
  // an array: see OnMemberEnd.
  virtual void OnMember(absl::string_view key, JsonType type,
                        absl::string_view raw, const std::string& string) = 0;
  // The end of such an object or array, which is `raw`.
  virtual void OnMemberEnd(absl::string_view key, absl::string_view raw) = 0;
  // A member of an object that is the member `key` of the text.
  virtual void OnInnerMember(absl::string_view key, absl::string_view inner,
                             JsonType type) = 0;
};

enum class JsonFault : uint8_t {
  kNone,
  kMalformed,
  kTooDeep,
  kDuplicateKey,
};

// `max_depth` counts objects and arrays. After a fault the visitor has seen the
// text up to it.
JsonFault ReadJson(absl::string_view text, int max_depth, JsonVisitor& visitor);

}  // namespace broker::internal
