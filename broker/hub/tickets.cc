#include "broker/hub/tickets.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"

namespace broker {

absl::StatusOr<std::string> Tickets::Mint(Ticket ticket, MonotonicTime now) {
  std::string secret = NewSecret();
  const Sha256Digest digest = Sha256(secret);
  MutexLock lock(mu_);
  DropExpired(now);
  if (tickets_.size() >= kMaxOutstanding) {
    return WithReason(
        absl::ResourceExhaustedError(absl::StrCat(
            "there are ", tickets_.size(),
            " tickets that nobody presented yet, and no more are allowed")),
        "TICKET_LIMIT");
  }
  by_expiry_.emplace(ticket.expires, digest);
  tickets_.emplace(digest, std::move(ticket));
  return secret;
}

std::optional<Ticket> Tickets::Take(absl::string_view secret,
                                    absl::string_view ns,
                                    const std::optional<std::string>& origin,
                                    MonotonicTime now) {
  const Sha256Digest digest = Sha256(secret);
  MutexLock lock(mu_);
  DropExpired(now);
  const auto it = tickets_.find(digest);
  if (it == tickets_.end()) return std::nullopt;
  const Ticket& found = it->second;
  const auto& origins = found.allowed_origins;
  if (found.ns != ns) return std::nullopt;
  if (!origins.empty() && (!origin || std::find(origins.begin(), origins.end(),
                                                *origin) == origins.end())) {
    return std::nullopt;
  }
  by_expiry_.erase({found.expires, digest});
  std::optional<Ticket> taken = std::move(it->second);
  tickets_.erase(it);
  return taken;
}

size_t Tickets::outstanding() const {
  MutexLock lock(mu_);
  return tickets_.size();
}

void Tickets::DropExpired(MonotonicTime now) {
  while (!by_expiry_.empty() && by_expiry_.begin()->first <= now) {
    tickets_.erase(by_expiry_.begin()->second);
    by_expiry_.erase(by_expiry_.begin());
  }
}

}  // namespace broker
