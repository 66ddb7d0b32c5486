// MethodTable: which attached services take the messages with a method. A
// pattern is a whole name, `orders.create`, or all names with a prefix,
// `orders.*`; the most specific one of those that match decides: a whole name
// before a prefix, a longer prefix before a shorter one.
//
// Pure bookkeeping. Not thread-safe.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace broker {

class MethodTable {
 public:
  using ServiceId = uint64_t;

  // The patterns of a service, which is not in it yet. One that is there twice
  // counts once.
  void Add(ServiceId service, absl::Span<const std::string> patterns);
  void Remove(ServiceId service);
  bool empty() const { return by_service_.empty(); }

  // Who takes it: of those that `accepts` lets through, all that have the most
  // specific pattern, in the order in which they came. Empty: nobody.
  struct Match {
    absl::string_view pattern;  // good until Add or Remove
    std::vector<ServiceId> services;
  };
  Match Find(absl::string_view method,
             absl::FunctionRef<bool(ServiceId)> accepts) const;

 private:
  // By the pattern, with its `*` when it has one.
  using Patterns = absl::flat_hash_map<std::string, std::vector<ServiceId>>;

  static bool IsPrefix(absl::string_view pattern) {
    return !pattern.empty() && pattern.back() == '*';
  }
  bool Try(absl::string_view pattern,
           absl::FunctionRef<bool(ServiceId)> accepts, Match& match) const;

  absl::flat_hash_map<ServiceId, std::vector<std::string>> by_service_;
  Patterns patterns_;
  // How many prefixes there are of each length, the `*` included.
  absl::btree_map<size_t, size_t, std::greater<>> prefix_lengths_;
};

}  // namespace broker
