#include "tools/bench/call/publish_source.h"

#include <chrono>
#include <utility>

#include "tools/bench/call/context.h"

namespace bench {
namespace {

void Add(const v1::PublishResult& result, Outcome* outcome) {
  const auto add = [&](const auto& response) {
    outcome->matched += response.matched();
    outcome->queued += response.queued();
    outcome->dropped += response.dropped_slow();
  };
  switch (result.result_case()) {
    case v1::PublishResult::kSendToAccount:
      return add(result.send_to_account());
    case v1::PublishResult::kBroadcastFiltered:
      return add(result.broadcast_filtered());
    case v1::PublishResult::kCloseSocketsForAccount:
      outcome->closed += result.close_sockets_for_account().closed();
      return;
    default:
      outcome->error = "an item failed: " + result.error().message();
  }
}

}  // namespace

PublishSource::PublishSource(Stub* stub, size_t flight, Fill fill)
    : fill_(std::move(fill)), slots_(flight) {
  Prepare(context_, std::chrono::minutes(5));
  stub->Publish(&context_, this);
  // Writes are started from other threads than gRPC's.
  AddHold();
  StartRead(&response_);
  StartCall();
}

PublishSource::~PublishSource() {
  StartWritesDone();
  RemoveHold();
  std::unique_lock<std::mutex> lock(mu_);
  changed_.wait(lock, [this] { return done_; });
}

void PublishSource::Start(size_t slot, uint64_t index, Done done) {
  slots_[slot].request.Clear();
  Slot* next = nullptr;
  {
    // So that requests are filled in the order in which they are written.
    std::lock_guard<std::mutex> lock(mu_);
    fill_(slot, index, &slots_[slot].request);
    slots_[slot].done = std::move(done);
    unwritten_.push_back(slot);
    next = TakeWrite();
  }
  if (next != nullptr) StartWrite(&next->request);
}

PublishSource::Slot* PublishSource::TakeWrite() {
  if (writing_ || unwritten_.empty()) return nullptr;
  writing_ = true;
  const size_t slot = unwritten_.front();
  unwritten_.pop_front();
  unanswered_.push_back(slot);
  return &slots_[slot];
}

void PublishSource::OnWriteDone(bool ok) {
  if (!ok) return;  // OnReadDone tells
  Slot* next = nullptr;
  {
    std::lock_guard<std::mutex> lock(mu_);
    writing_ = false;
    next = TakeWrite();
  }
  if (next != nullptr) StartWrite(&next->request);
}

void PublishSource::OnReadDone(bool ok) {
  if (!ok) {
    Outcome failed;
    failed.error = "the stream has ended";
    for (;;) {
      {
        std::lock_guard<std::mutex> lock(mu_);
        if (unanswered_.empty()) return;
      }
      Answer(failed);
    }
  }
  Outcome outcome;
  for (const v1::PublishResult& result : response_.results()) {
    Add(result, &outcome);
  }
  StartRead(&response_);
  Answer(outcome);
}

void PublishSource::Answer(const Outcome& outcome) {
  Done done;
  {
    std::lock_guard<std::mutex> lock(mu_);
    done = std::move(slots_[unanswered_.front()].done);
    unanswered_.pop_front();
  }
  done(outcome);
}

void PublishSource::OnDone(const grpc::Status&) {
  std::lock_guard<std::mutex> lock(mu_);
  done_ = true;
  changed_.notify_all();
}

}  // namespace bench
