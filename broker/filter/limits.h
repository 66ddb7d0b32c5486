// How large a filter may be. Whoever may call the broker may send filters, so
// each bound keeps the work of one of them small.

#pragma once

#include <cstddef>

namespace broker {

// Levels of the tree; a comparison alone is one. Evaluation recurses that deep.
inline constexpr int kMaxDepth = 16;
// FilterExpr messages in the tree.
inline constexpr int kMaxNodes = 256;
// Values in all `member` sets of the tree together.
inline constexpr int kMaxSetMembers = 4096;
// Of the text, and of the tree when serialized.
inline constexpr size_t kMaxBytes = 64 * 1024;
// Of one value, in a comparison or a set.
inline constexpr size_t kMaxValueBytes = 1024;

}  // namespace broker
