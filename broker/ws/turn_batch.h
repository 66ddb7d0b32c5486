// TurnBatch: the frames that connections are sent within one turn of the loop.
// They leave at its end, so that those for one connection leave in one write.
//
// What a connection waits with is a Sequence of frames. Connections that are
// sent the same frames have the same one and share its bytes, which are joined
// once: a burst to thousands costs a connection no more than one frame does.
//
// Confined to the shard's thread; no input and output.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "broker/session/frame.h"

namespace broker {

class TurnBatch {
 public:
  using Sequence = uint32_t;
  static constexpr Sequence kNone = 0;

  TurnBatch() { Clear(); }

  // Names the frame for the Appends that follow.
  void Begin(FramePtr frame);
  // The sequence `before` with that frame behind it.
  Sequence Append(Sequence before) {
    if (nodes_[before].round != round_) AddNext(before);
    return nodes_[before].next;
  }

  // All its bytes, and how many they are. Valid until Clear.
  absl::string_view bytes(Sequence sequence);
  size_t size(Sequence sequence) const { return nodes_[sequence].size; }
  std::vector<FramePtr> Frames(Sequence sequence) const;

  // Forgets all sequences.
  void Clear();

 private:
  // A sequence is its last frame and the sequence before it.
  struct Node {
    FramePtr frame;
    Sequence before = kNone;
    size_t size = 0;
    uint64_t round = 0;  // of Begin in which `next` was made
    Sequence next = kNone;
    std::string joined;  // when it was asked for, and is more than one frame
  };

  void AddNext(Sequence before);

  std::vector<Node> nodes_;
  FramePtr frame_;
  uint64_t round_ = 0;
};

}  // namespace broker
