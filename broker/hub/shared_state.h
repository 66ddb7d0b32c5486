// SharedState: what all shards have in common. Everything in it is thread-safe.

#pragma once

#include <atomic>
#include <string>

#include "broker/core/clock.h"
#include "broker/core/ids.h"
#include "broker/hub/callout.h"
#include "broker/hub/caps.h"
#include "broker/hub/revocation_log.h"
#include "broker/hub/settings.h"
#include "broker/hub/tickets.h"

namespace broker {

struct SharedState {
  SharedState(const Clock& the_clock, const Settings& settings,
              JournalPast past, Journal* journal)
      : clock(the_clock),
        caps(settings.limits),
        revocations(the_clock, settings.revocation_retention, std::move(past),
                    journal) {}

  const Clock& clock;
  Caps caps;
  Tickets tickets;
  RevocationLog revocations;
  std::atomic<bool> draining{false};
  Callout* callout = nullptr;  // set before the shards' threads start
};

}  // namespace broker
