// OutcomeTracker: how a message ends at those connections whose outboxes took
// it. The sockets tell it, and it tells who waits for all of them.
//
// Thread-safe: the sockets of all shards share it, and therefore locked.

#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "broker/core/ids.h"
#include "broker/core/mutex.h"

namespace broker {

// What became of a message for one connection.
enum class SendOutcome : uint8_t {
  kQueued,       // the outbox has it
  kDroppedSlow,  // the client reads too slowly
  kGone,         // the connection ended first
  kWritten,      // the kernel has all of it
  kExpired,      // its time was over first
  kUnfit,        // it may not be sent there
};

class OutcomeTracker {
 public:
  struct Ends {
    uint64_t written = 0;
    uint64_t expired = 0;
    uint64_t dropped_slow = 0;
    uint64_t gone = 0;
    std::vector<std::pair<ConnectionId, SendOutcome>> each;
  };
  using Done = absl::AnyInvocable<void(Ends)>;

  // `keep_each`: whether it is asked how it ended for each connection.
  explicit OutcomeTracker(bool keep_each) : keep_each_(keep_each) {}

  // The end at a connection whose outbox took the message: once for each.
  void OnEnd(const ConnectionId& id, SendOutcome outcome);

  // Calls `done` once, at once or from the last OnEnd, when so many have ended
  // as outboxes took the message. To be called once.
  void Await(uint64_t queued, Done done);

 private:
  const bool keep_each_;
  Mutex mu_;
  Ends ends_ ABSL_GUARDED_BY(mu_);
  uint64_t ended_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t awaited_ ABSL_GUARDED_BY(mu_) = 0;  // when there is a done_
  Done done_ ABSL_GUARDED_BY(mu_);
};

using OutcomeTrackerPtr = std::shared_ptr<OutcomeTracker>;

}  // namespace broker
