// OutboxModel: what an outbox does, said as simply as it can be.

#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "broker/ws/outbox.h"

namespace broker {

// The model: one byte after the other, with a note of where its unit (a
// fragment, or bytes that must not be cut) ends, whether a discard spares it,
// and whose it is.
class OutboxModel {
 public:
  using Keep = Outbox::Keep;
  using Ends = std::multimap<OutcomeTracker*, SendOutcome>;
  struct Byte {
    char value;
    bool ends_unit;
    bool pinned;
    const Frame* frame = nullptr;  // one with options
  };

  void Push(const FramePtr& frame, size_t sent) {
    const Frame* whose = frame->options() != nullptr ? frame.get() : nullptr;
    if (whose != nullptr) messages_[whose] = {frame, frame->size()};
    for (size_t i = 0; i < frame->size(); ++i) {
      bytes_.push_back({frame->bytes()[i], frame->FragmentEnd(i + 1) == i + 1,
                        false, whose});
    }
    Sent(sent);
  }
  void Push(const std::string& bytes, size_t sent, Keep keep) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      bytes_.push_back(
          {bytes[i], i + 1 == bytes.size(), keep == Keep::kAlways});
    }
    Sent(sent);
  }
  void Sent(size_t n) {
    for (; n > 0; --n) {
      mid_unit_ = !bytes_.front().ends_unit;
      const Frame* frame = bytes_.front().frame;
      bytes_.pop_front();
      const auto it = messages_.find(frame);
      if (it != messages_.end() && --it->second.left == 0) {
        End(frame, SendOutcome::kWritten);
      }
    }
  }
  void Discard() {
    std::deque<Byte> kept;
    bool in_first = mid_unit_;
    for (const Byte& byte : bytes_) {
      if (in_first || byte.pinned) {
        kept.push_back(byte);
      } else {
        End(byte.frame, SendOutcome::kGone);
      }
      if (byte.ends_unit) in_first = false;
    }
    bytes_ = kept;
  }
  void Clear() {
    for (const Byte& byte : bytes_) End(byte.frame, SendOutcome::kGone);
    bytes_.clear();
  }

  size_t Expire(MonotonicTime now) {
    std::vector<const Frame*> expired, begun;
    for (const auto& [frame, message] : messages_) {
      if (frame->options()->expires_at > now) continue;
      (message.left == frame->size() ? expired : begun).push_back(frame);
    }
    for (const Frame* frame : expired) TakeOut(frame, SendOutcome::kExpired);
    for (const Frame* frame : begun) End(frame, SendOutcome::kExpired);
    return expired.size();
  }
  const Frame* Replaceable(const std::string& key) const {
    for (const auto& [frame, message] : messages_) {
      if (frame->options()->conflation_key == key &&
          message.left == frame->size())
        return frame;
    }
    return nullptr;
  }
  void TakeOut(const Frame* frame, SendOutcome outcome) {
    std::erase_if(bytes_, [&](const Byte& b) { return b.frame == frame; });
    End(frame, outcome);
  }
  Ends TakeEnds() { return std::exchange(ends_, {}); }

  char at(size_t i) const { return bytes_[i].value; }
  size_t size() const { return bytes_.size(); }

 private:
  struct Message {
    FramePtr frame;
    size_t left = 0;
  };

  void End(const Frame* frame, SendOutcome outcome) {
    const auto it = messages_.find(frame);
    if (it == messages_.end()) return;
    ends_.emplace(frame->options()->tracker.get(), outcome);
    over_.push_back(it->second.frame);  // so that no other gets its address
    messages_.erase(it);
  }

  std::deque<Byte> bytes_;
  bool mid_unit_ = false;  // the last byte sent did not end its unit
  std::map<const Frame*, Message> messages_;  // that have not ended
  std::vector<FramePtr> over_;
  Ends ends_;
};

}  // namespace broker
