#include "broker/hub/ticket_misses.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "broker/core/ip_network.h"

namespace broker {
namespace {

constexpr std::chrono::milliseconds kMinute = std::chrono::minutes(1);
constexpr size_t kPrefixBytes = 8;  // of an IPv6 address

std::string KeyOf(absl::string_view address) {
  const std::optional<IpAddress> ip = IpAddress::Parse(address);
  if (!ip || ip->is_v4()) return std::string(address);
  return std::string(ip->bytes().begin(), ip->bytes().begin() + kPrefixBytes);
}

}  // namespace

int TicketMisses::RetryAfter(absl::string_view address,
                             MonotonicTime now) const {
  MutexLock lock(mu_);
  if (per_minute_ == 0) return 0;
  const auto it = forgiven_.find(KeyOf(address));
  if (it == forgiven_.end()) return 0;
  const std::chrono::milliseconds over =
      it->second + kMinute / per_minute_ - now - kMinute;
  if (over <= std::chrono::milliseconds(0)) return 0;
  return static_cast<int>(
      std::chrono::ceil<std::chrono::seconds>(over).count());
}

void TicketMisses::Add(absl::string_view address, MonotonicTime now) {
  MutexLock lock(mu_);
  if (per_minute_ == 0) return;
  while (!by_time_.empty() && (by_time_.begin()->first <= now ||
                               forgiven_.size() >= kMaxAddresses)) {
    forgiven_.erase(by_time_.begin()->second);
    by_time_.erase(by_time_.begin());
  }
  std::string key = KeyOf(address);
  MonotonicTime& forgiven = forgiven_.try_emplace(key, now).first->second;
  by_time_.erase({forgiven, key});
  forgiven += kMinute / per_minute_;
  by_time_.emplace(forgiven, std::move(key));
}

void TicketMisses::SetLimit(uint64_t per_minute) {
  MutexLock lock(mu_);
  per_minute_ = per_minute;
  if (per_minute != 0) return;
  forgiven_.clear();
  by_time_.clear();
}

size_t TicketMisses::addresses() const {
  MutexLock lock(mu_);
  return forgiven_.size();
}

}  // namespace broker
