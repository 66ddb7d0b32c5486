// SharedState: what all shards have in common. Everything in it is thread-safe.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "broker/core/clock.h"
#include "broker/core/ids.h"
#include "broker/hub/account_places.h"
#include "broker/hub/callout.h"
#include "broker/hub/caps.h"
#include "broker/hub/memory_status.h"
#include "broker/hub/offers.h"
#include "broker/hub/revocation_log.h"
#include "broker/hub/settings.h"
#include "broker/hub/ticket_misses.h"
#include "broker/hub/tickets.h"

namespace broker {

struct SharedState {
  SharedState(const Clock& the_clock, const Settings& settings,
              JournalPast past, Journal* journal)
      : clock(the_clock),
        caps(settings.limits),
        accounts(settings.limits),
        ticket_misses(settings.limits.max_ticket_misses_per_minute),
        revocations(the_clock, settings.revocation_retention, std::move(past),
                    journal) {}

  const Clock& clock;
  Caps caps;
  AccountPlaces accounts;
  TicketMisses ticket_misses;
  Tickets tickets;
  RevocationLog revocations;
  Offers offers;
  std::atomic<uint64_t> open_requests{0};  // of clients, with services
  std::atomic<uint64_t> last_question{0};  // the number of its id
  std::atomic<bool> draining{false};
  std::atomic<MemoryLevel> memory_level{MemoryLevel::kNormal};
  // Has a shard close those connections of an account that lost their places.
  std::function<void(uint8_t shard, std::string ns, std::string account_id)>
      close_evicted;           // set before the shards' threads start
  Callout* callout = nullptr;  // set before the shards' threads start
};

}  // namespace broker
