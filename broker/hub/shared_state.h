// SharedState: what all shards have in common. Everything in it is thread-safe.

#pragma once

#include <atomic>
#include <string>

#include "broker/core/clock.h"
#include "broker/core/ids.h"
#include "broker/hub/callout.h"
#include "broker/hub/caps.h"
#include "broker/hub/offers.h"
#include "broker/hub/revocation_log.h"
#include "broker/hub/tickets.h"

namespace broker {

struct SharedState {
  SharedState(const Clock& the_clock, const Limits& limits)
      : clock(the_clock), caps(limits), revocations(the_clock) {}

  const Clock& clock;
  Caps caps;
  Tickets tickets;
  RevocationLog revocations;
  Offers offers;
  std::atomic<bool> draining{false};
  Callout* callout = nullptr;  // set before the shards' threads start
};

}  // namespace broker
