#include "broker/ws/outbox.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>

namespace broker {
namespace {

// What one system call is offered at most.
constexpr size_t kMaxParts = 64;

}  // namespace

const char* Outbox::Chunk::bytes() const {
  const FramePtr* frame = std::get_if<FramePtr>(&data);
  return frame != nullptr ? (*frame)->bytes().data()
                          : std::get<std::string>(data).data();
}

void Outbox::Push(FramePtr frame, size_t sent) {
  const size_t size = frame->size();
  Append({std::move(frame), size, Keep::kUntilDiscard}, sent);
}

void Outbox::Push(std::string bytes, size_t sent, Keep keep) {
  const size_t size = bytes.size();
  Append({std::move(bytes), size, keep}, sent);
}

void Outbox::Append(Chunk chunk, size_t sent) {
  assert(sent < chunk.end && (sent == 0 || empty()));
  if (empty()) sent_ = sent;
  bytes_ += chunk.end - sent;
  chunks_.push_back(std::move(chunk));
}

bool Outbox::Flush(Writer write) {
  while (!empty()) {
    std::array<iovec, kMaxParts> parts;
    size_t count = 0;
    for (size_t i = head_; i < chunks_.size() && count < kMaxParts; ++i) {
      const size_t skip = i == head_ ? sent_ : 0;
      parts[count++] = {const_cast<char*>(chunks_[i].bytes()) + skip,
                        chunks_[i].end - skip};
    }
    const ssize_t taken = write(parts.data(), count);
    if (taken <= 0) return taken == 0;
    Advance(static_cast<size_t>(taken));
  }
  return true;
}

void Outbox::Advance(size_t taken) {
  bytes_ -= taken;
  sent_ += taken;
  while (head_ < chunks_.size() && sent_ >= chunks_[head_].end) {
    sent_ -= chunks_[head_].end;
    chunks_[head_++].data = FramePtr();  // Others may be waiting for its end.
  }
  if (bytes_ == 0) return Clear();
  // Half of it is dead: moving the other half costs as much as was saved.
  if (head_ >= kMaxParts && head_ * 2 >= chunks_.size()) {
    chunks_.erase(chunks_.begin(),
                  chunks_.begin() + static_cast<ptrdiff_t>(head_));
    head_ = 0;
  }
}

void Outbox::Discard() {
  if (empty()) return;
  Chunk& first = chunks_[head_];
  if (const FramePtr* frame = std::get_if<FramePtr>(&first.data)) {
    // The first chunk may have been cut by a discard before this one.
    first.end = std::min(first.end, (*frame)->FragmentEnd(sent_));
  }
  const bool keep_first = sent_ > 0 && sent_ < first.end;
  std::vector<Chunk> kept;
  for (size_t i = head_; i < chunks_.size(); ++i) {
    if ((i == head_ && keep_first) || chunks_[i].keep == Keep::kAlways) {
      kept.push_back(std::move(chunks_[i]));
    }
  }
  if (!keep_first) sent_ = 0;
  chunks_ = std::move(kept);
  head_ = 0;
  bytes_ = 0;
  for (const Chunk& chunk : chunks_) bytes_ += chunk.end;
  bytes_ -= sent_;
}

void Outbox::Clear() {
  // Not clear(): a connection at rest holds no memory for its outbox.
  chunks_ = {};
  head_ = 0;
  sent_ = 0;
  bytes_ = 0;
}

}  // namespace broker
