// Outbox: the bytes that a connection has accepted and the kernel has not taken
// yet. Every byte that leaves goes through it or, while it is empty, past it.
//
// It knows where a close frame may be cut in: behind the fragment that is
// partly on the wire. A message of which no byte is on the wire it can take out
// again: when its time is over, and for a newer one with its conflation key.
//
// Confined to the shard's thread; no system calls of its own, so that tests can
// play the kernel.

#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "broker/core/clock.h"
#include "broker/session/frame.h"

namespace broker {

class Outbox {
 public:
  // Offers bytes to the kernel. Returns how many it took, 0 when it takes none
  // now, -1 when the peer is gone.
  using Writer = absl::FunctionRef<ssize_t(const iovec* parts, size_t count)>;

  // What Discard may do with bytes of which none is on the wire yet.
  enum class Keep : uint8_t { kUntilDiscard, kAlways };

  bool empty() const { return chunks_.empty(); }
  uint64_t bytes() const { return bytes_; }
  // What it holds memory for: frames and other bytes, done with or not.
  size_t chunks() const { return chunks_.size(); }

  // Appends a frame, or other bytes that must not be cut. Of them `sent` are on
  // the wire already, fewer than all; not 0 only when the outbox is empty.
  void Push(FramePtr frame, size_t sent);
  void Push(std::string bytes, size_t sent, Keep keep);

  // Gives the kernel what it takes. False: the peer is gone.
  bool Flush(Writer write);

  // Drops all but the rest of the fragment that is partly on the wire, and what
  // is kept always.
  void Discard();

  // Drops everything: the socket is gone.
  void Clear();

  // ---- messages with options ----

  // Takes out the messages whose time is over, and of which no byte is on the
  // wire; returns how many. One that has begun stays, but its end is told.
  size_t Expire(MonotonicTime now);
  // When there may be something for Expire, or for ends that nobody takes;
  // max(): not as it stands.
  MonotonicTime next_expiry() const {
    return optioned_ == nullptr ? MonotonicTime::max() : optioned_->next_expiry;
  }

  // The bytes of the newest message with that conflation key, if none of them
  // is on the wire; else 0.
  uint64_t Replaceable(absl::string_view conflation_key) const;
  // Takes that message out, for a newer one.
  void TakeOutReplaceable(absl::string_view conflation_key);

  // How a message with a tracker ended.
  struct End {
    OutcomeTrackerPtr tracker;
    SendOutcome outcome;
    MonotonicTime expires_at;  // of the message
  };
  // For one that has never been in here.
  void AddEnd(End end);
  bool has_ends() const {
    return optioned_ != nullptr && !optioned_->ends.empty();
  }
  // Offers all ends that nobody has taken yet; true takes one.
  void OfferEnds(absl::FunctionRef<bool(const End&)> take);

 private:
  struct Chunk {
    std::variant<FramePtr, std::string> data;
    size_t end;  // the bytes behind it are not to be sent; 0: it is done with
    Keep keep;
    bool told = false;  // its end, already
    const char* bytes() const;
    // Of a message that is still to be sent whole; else null.
    const MessageOptions* options() const;
  };

  // What only messages with options need.
  struct Optioned {
    MonotonicTime next_expiry = MonotonicTime::max();
    size_t holes = 0;  // chunks behind head_ that are done with
    // By conflation key: the newest chunk that has it. The key is the frame's.
    absl::flat_hash_map<absl::string_view, size_t> newest;
    std::vector<End> ends;
  };

  void Append(Chunk chunk, size_t sent);
  // Counts bytes that the kernel took, and lets go of what is done with.
  void Advance(size_t taken);
  Optioned& optioned();
  // A chunk with options is in.
  void Note(size_t index);
  // A chunk is about to be done with, or to be cut.
  void OnOver(size_t index, SendOutcome outcome);
  // Once, and of a chunk with options.
  void TellEnd(Chunk& chunk, SendOutcome outcome);
  // Whether no byte of it is on the wire.
  bool IsWhole(size_t index) const { return index != head_ || sent_ == 0; }
  void TakeOut(size_t index, SendOutcome outcome);
  // After TakeOut: the first chunk is one to be sent, and holes are few.
  void CloseHoles();
  // Moves what is to be sent to the front.
  void Compact();
  // Nothing is left to be sent. A connection at rest holds no memory for it.
  void Reset();

  std::vector<Chunk> chunks_;  // those before head_ are done with
  size_t head_ = 0;
  size_t sent_ = 0;  // of the first chunk
  uint64_t bytes_ = 0;
  std::unique_ptr<Optioned> optioned_;  // null while there is nothing in it
};

}  // namespace broker
