// Outbox: the bytes that a connection has accepted and the kernel has not taken
// yet. Every byte that leaves goes through it or, while it is empty, past it.
//
// It knows where a close frame may be cut in: behind the fragment that is
// partly on the wire. Confined to the shard's thread; no system calls of its
// own, so that tests can play the kernel.

#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
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

 private:
  struct Chunk {
    std::variant<FramePtr, std::string> data;
    size_t end;  // the bytes behind it are not to be sent
    Keep keep;
    const char* bytes() const;
  };

  void Append(Chunk chunk, size_t sent);
  // Counts bytes that the kernel took, and lets go of what is done with.
  void Advance(size_t taken);

  std::vector<Chunk> chunks_;  // those before head_ are done with
  size_t head_ = 0;
  size_t sent_ = 0;  // of the first chunk
  uint64_t bytes_ = 0;
};

}  // namespace broker
