// Pages: what a look returns at a time.

#pragma once

#include <cstddef>

#include "broker/control/convert.h"
#include "google/protobuf/repeated_field.h"

namespace broker::control {

// Beside the one that goes over it, this leaves room in the 4 MiB that clients
// of gRPC take unless they are told to take more.
constexpr size_t kMaxPageBytes = 3 << 20;

// Puts the first of the items into the page, at most `size` of them, and fewer
// where they are long. Returns how many: when there are more, they are for the
// next page.
template <typename Items, typename Proto>
size_t FillPage(const Items& items, size_t size,
                google::protobuf::RepeatedPtrField<Proto>& page) {
  size_t bytes = 0;
  size_t taken = 0;
  while (taken < items.size() && taken < size && bytes < kMaxPageBytes) {
    Proto& item = *page.Add();
    item = ToProto(*items[taken++]);
    bytes += item.ByteSizeLong();
  }
  return taken;
}

}  // namespace broker::control
