#include "broker/routing/method_table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace broker {

void MethodTable::Add(ServiceId service,
                      absl::Span<const std::string> patterns) {
  std::vector<std::string>& own = by_service_[service];
  own.assign(patterns.begin(), patterns.end());
  std::sort(own.begin(), own.end());
  own.erase(std::unique(own.begin(), own.end()), own.end());
  for (const std::string& pattern : own) {
    std::vector<ServiceId>& services = patterns_[pattern];
    if (services.empty() && IsPrefix(pattern)) {
      ++prefix_lengths_[pattern.size()];
    }
    services.push_back(service);
  }
}

void MethodTable::Remove(ServiceId service) {
  const auto it = by_service_.find(service);
  if (it == by_service_.end()) return;
  for (const std::string& pattern : it->second) {
    const auto at = patterns_.find(pattern);
    auto& services = at->second;
    services.erase(std::find(services.begin(), services.end(), service));
    if (!services.empty()) continue;
    patterns_.erase(at);
    if (!IsPrefix(pattern)) continue;
    const auto length = prefix_lengths_.find(pattern.size());
    if (--length->second == 0) prefix_lengths_.erase(length);
  }
  by_service_.erase(it);
}

MethodTable::Match MethodTable::Find(
    absl::string_view method,
    absl::FunctionRef<bool(ServiceId)> accepts) const {
  Match match;
  // A method that ends with `*` must not be taken for a pattern.
  if (!IsPrefix(method) && Try(method, accepts, match)) return match;
  std::string pattern;
  for (const auto& [length, count] : prefix_lengths_) {
    if (length - 1 > method.size()) continue;
    pattern.assign(method.data(), length - 1);
    pattern += '*';
    if (Try(pattern, accepts, match)) return match;
  }
  return match;
}

bool MethodTable::Try(absl::string_view pattern,
                      absl::FunctionRef<bool(ServiceId)> accepts,
                      Match& match) const {
  const auto it = patterns_.find(pattern);
  if (it == patterns_.end()) return false;
  for (const ServiceId service : it->second) {
    if (accepts(service)) match.services.push_back(service);
  }
  match.pattern = it->first;
  return !match.services.empty();
}

}  // namespace broker
