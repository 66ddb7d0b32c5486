// The limits of an Identity, as in protos/socketbroker/v1/connection.proto.

#pragma once

#include <cstddef>

namespace broker {

inline constexpr size_t kMaxKeyBytes = 256;  // account, session and token ids
inline constexpr size_t kMaxLabels = 64;
inline constexpr size_t kMaxLabelKeyBytes = 64;
inline constexpr size_t kMaxLabelValueBytes = 256;
inline constexpr size_t kMaxGroups = 128;
inline constexpr size_t kMaxGroupBytes = 256;

}  // namespace broker
