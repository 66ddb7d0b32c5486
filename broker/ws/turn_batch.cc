#include "broker/ws/turn_batch.h"

#include <algorithm>
#include <utility>

namespace broker {

void TurnBatch::Begin(FramePtr frame) {
  frame_ = std::move(frame);
  ++round_;
}

void TurnBatch::AddNext(Sequence before) {
  const auto next = static_cast<Sequence>(nodes_.size());
  nodes_[before].round = round_;
  nodes_[before].next = next;
  Node node;
  node.frame = frame_;
  node.before = before;
  node.size = nodes_[before].size + frame_->size();
  nodes_.push_back(std::move(node));
}

absl::string_view TurnBatch::bytes(Sequence sequence) {
  Node& node = nodes_[sequence];
  if (node.before == kNone) return node.frame->bytes();
  if (node.joined.empty()) {
    node.joined.reserve(node.size);
    for (const FramePtr& frame : Frames(sequence)) {
      node.joined += frame->bytes();
    }
  }
  return node.joined;
}

std::vector<FramePtr> TurnBatch::Frames(Sequence sequence) const {
  std::vector<FramePtr> frames;
  for (; sequence != kNone; sequence = nodes_[sequence].before) {
    frames.push_back(nodes_[sequence].frame);
  }
  std::reverse(frames.begin(), frames.end());
  return frames;
}

void TurnBatch::Clear() {
  nodes_.clear();
  nodes_.emplace_back();  // kNone
  frame_ = nullptr;
}

}  // namespace broker
