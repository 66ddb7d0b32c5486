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
  if (chunks_.back().options() != nullptr) Note(chunks_.size() - 1);
}

bool Outbox::Flush(Writer write) {
  while (!empty()) {
    std::array<iovec, kMaxParts> parts;
    size_t count = 0;
    for (size_t i = head_; i < chunks_.size() && count < kMaxParts; ++i) {
      if (chunks_[i].end == 0) continue;
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
    if (optioned_ != nullptr) OnOver(head_, SendOutcome::kWritten);
    // Others may be waiting for the frame's end.
    chunks_[head_++] = {FramePtr(), 0, Keep::kUntilDiscard};
  }
  if (bytes_ == 0) return Reset();
  // Half of it is dead: moving the other half costs as much as was saved.
  if (head_ >= kMaxParts && head_ * 2 >= chunks_.size()) Compact();
}

void Outbox::Discard() {
  if (empty()) return;
  Chunk& first = chunks_[head_];
  if (const FramePtr* frame = std::get_if<FramePtr>(&first.data)) {
    // The first chunk may have been cut by a discard before this one.
    const size_t end = std::min(first.end, (*frame)->FragmentEnd(sent_));
    if (end < first.end) OnOver(head_, SendOutcome::kGone);
    first.end = end;
  }
  const bool keep_first = sent_ > 0 && sent_ < first.end;
  std::vector<Chunk> kept;
  for (size_t i = head_; i < chunks_.size(); ++i) {
    if ((i == head_ && keep_first) || chunks_[i].keep == Keep::kAlways) {
      kept.push_back(std::move(chunks_[i]));
    } else {
      OnOver(i, SendOutcome::kGone);
    }
  }
  if (!keep_first) sent_ = 0;
  chunks_ = std::move(kept);
  bytes_ = 0;
  for (const Chunk& chunk : chunks_) bytes_ += chunk.end;
  if (bytes_ == 0) return Reset();
  bytes_ -= sent_;
  Compact();
}

void Outbox::Clear() {
  for (size_t i = head_; i < chunks_.size(); ++i) {
    OnOver(i, SendOutcome::kGone);
  }
  Reset();
}

void Outbox::Compact() {
  std::erase_if(chunks_, [](const Chunk& chunk) { return chunk.end == 0; });
  head_ = 0;
  if (optioned_ == nullptr) return;
  optioned_->holes = 0;
  optioned_->newest.clear();
  for (size_t i = 0; i < chunks_.size(); ++i) Note(i);
}

void Outbox::Reset() {
  chunks_ = {};  // not clear(), which keeps the memory
  head_ = 0;
  sent_ = 0;
  bytes_ = 0;
  if (optioned_ == nullptr) return;
  if (optioned_->ends.empty()) return optioned_.reset();
  optioned_->newest.clear();
  optioned_->holes = 0;
}

// ---- messages with options --------------------------------------------------

const MessageOptions* Outbox::Chunk::options() const {
  const FramePtr* frame = std::get_if<FramePtr>(&data);
  if (frame == nullptr || *frame == nullptr) return nullptr;
  return end < (*frame)->size() ? nullptr : (*frame)->options();
}

Outbox::Optioned& Outbox::optioned() {
  if (optioned_ == nullptr) optioned_ = std::make_unique<Optioned>();
  return *optioned_;
}

void Outbox::Note(size_t index) {
  const MessageOptions* options = chunks_[index].options();
  if (options == nullptr) return;
  Optioned& noted = optioned();
  if (IsWhole(index) || options->tracker != nullptr) {
    noted.next_expiry = std::min(noted.next_expiry, options->expires_at);
  }
  if (!options->conflation_key.empty()) {
    noted.newest.erase(options->conflation_key);  // and the other frame's key
    noted.newest[options->conflation_key] = index;
  }
}

void Outbox::OnOver(size_t index, SendOutcome outcome) {
  if (optioned_ == nullptr) return;
  if (chunks_[index].end == 0) {
    --optioned_->holes;
    return;
  }
  const MessageOptions* options = chunks_[index].options();
  if (options == nullptr) return;
  const auto it = optioned_->newest.find(options->conflation_key);
  if (it != optioned_->newest.end() && it->second == index) {
    optioned_->newest.erase(it);
  }
  TellEnd(chunks_[index], outcome);
}

void Outbox::TellEnd(Chunk& chunk, SendOutcome outcome) {
  const MessageOptions& options = *chunk.options();
  if (options.tracker == nullptr || std::exchange(chunk.told, true)) return;
  optioned_->ends.push_back({options.tracker, outcome, options.expires_at});
}

void Outbox::TakeOut(size_t index, SendOutcome outcome) {
  OnOver(index, outcome);
  bytes_ -= chunks_[index].end;
  chunks_[index] = {FramePtr(), 0, Keep::kUntilDiscard};
  ++optioned_->holes;
}

void Outbox::CloseHoles() {
  if (bytes_ == 0) return Reset();
  for (; chunks_[head_].end == 0; ++head_) --optioned_->holes;
  if (optioned_->holes * 2 > chunks_.size() - head_) Compact();
}

size_t Outbox::Expire(MonotonicTime now) {
  if (now < next_expiry()) return 0;
  MonotonicTime next = MonotonicTime::max();
  for (const End& end : optioned_->ends) {
    if (end.expires_at > now) next = std::min(next, end.expires_at);
  }
  size_t expired = 0;
  for (size_t i = head_; i < chunks_.size(); ++i) {
    const MessageOptions* options = chunks_[i].options();
    if (options == nullptr) continue;
    if (options->expires_at > now) {
      next = std::min(next, options->expires_at);
    } else if (IsWhole(i)) {
      TakeOut(i, SendOutcome::kExpired);
      ++expired;
    } else {
      TellEnd(chunks_[i], SendOutcome::kExpired);
    }
  }
  optioned_->next_expiry = next;
  if (expired > 0) CloseHoles();
  return expired;
}

uint64_t Outbox::Replaceable(absl::string_view conflation_key) const {
  if (optioned_ == nullptr) return 0;
  const auto it = optioned_->newest.find(conflation_key);
  if (it == optioned_->newest.end() || !IsWhole(it->second)) return 0;
  return chunks_[it->second].end;
}

void Outbox::TakeOutReplaceable(absl::string_view conflation_key) {
  TakeOut(optioned_->newest.at(conflation_key), SendOutcome::kDroppedSlow);
  CloseHoles();
}

void Outbox::AddEnd(End end) {
  optioned().next_expiry = std::min(next_expiry(), end.expires_at);
  optioned_->ends.push_back(std::move(end));
}

void Outbox::OfferEnds(absl::FunctionRef<bool(const End&)> take) {
  std::erase_if(optioned_->ends, take);
  if (empty() && optioned_->ends.empty()) optioned_.reset();
}

}  // namespace broker
