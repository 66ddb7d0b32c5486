// Transport: a shard's sockets, as a port. Implemented by broker/ws over real
// sockets and by tests/fakes in memory.

#pragma once

#include <cstdint>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "broker/core/timer_wheel.h"
#include "broker/registry/slot.h"
#include "broker/session/close_code.h"
#include "broker/session/frame.h"

namespace broker {

enum class SendResult : uint8_t {
  kQueued,   // the outbox has it
  kTooSlow,  // it would pass the outbox's limit: dropped, not in part either
  kDropped,  // the same by its slow_policy: the connection is not to blame
  kExpired,  // its time was over before
  kGone,     // the socket is dead, and OnGone is on its way
};

// Except for Post, confined to the shard's thread. No method calls back into
// the shard before it returns.
class Transport {
 public:
  virtual ~Transport() = default;

  // Runs the task on the shard's thread, in the order of the posts. Any thread.
  // After the thread has ended tasks are destroyed without being run.
  virtual void Post(absl::AnyInvocable<void()> task) = 0;

  // The shard's timers, which the transport advances.
  virtual TimerWheel& timers() = 0;

  // Gives the frame to each socket; `results` has room for one per slot. It
  // leaves at the end of the thread's turn, with what else that has sent it,
  // and before a Close that follows; a frame with options leaves at once. Its
  // tracker, if any, is told how it ended at each socket that queued it: before
  // the return, later, or right before OnGone.
  virtual void Send(absl::Span<const Slot> slots, const FramePtr& frame,
                    SendResult* results) = 0;

  // Sends a close frame, then ends the socket: at most 2 s later, whatever the
  // client does. A positive `drain_for` first writes what the outbox holds, for
  // at most that long; else that is dropped. From the call on no message of
  // this client reaches the shard. Called again it may only cut a drain short:
  // the close frame is sent once, with the first code.
  virtual void Close(Slot slot, CloseCode code, absl::Duration drain_for) = 0;
  // The same at once, with a reason of one's own instead of the code's: at most
  // 123 bytes of UTF-8.
  virtual void CloseWithReason(Slot slot, CloseCode code,
                               absl::string_view reason) = 0;

  // Whether the client is read from; a while after false it is not. What it
  // sends then waits in the kernel, and fills its own.
  virtual void SetReading(Slot slot, bool on) = 0;

  struct OutboxBytes {
    uint64_t now = 0;
    uint64_t peak = 0;
  };
  virtual OutboxBytes Outbox(Slot slot) const = 0;
};

}  // namespace broker
