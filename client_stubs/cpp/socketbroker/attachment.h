// Attachment: one stream of a Service, and its credit. Not installed.

#pragma once

#include <grpcpp/support/status.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "socketbroker/streams.h"
#include "socketbroker/v1/attach.pb.h"

namespace socketbroker {

// Reads are for one thread; all else is for any.
class Attachment {
 public:
  // Begins with a `credit` of at most `all`.
  Attachment(std::unique_ptr<AttachStream> stream, uint32_t all,
             uint32_t credit)
      : stream_(std::move(stream)), all_(all), left_(credit) {}

  bool Read(v1::AttachResponse* told) { return stream_->Read(told); }

  bool Write(const v1::AttachRequest& request) {
    const std::lock_guard lock(write_mu_);
    return !ended_ && stream_->Write(request);
  }

  grpc::Status Finish() {
    // A write that is under way fails by now.
    const std::lock_guard lock(write_mu_);
    ended_ = true;
    return stream_->Finish();
  }

  void Cancel() { stream_->Cancel(); }

  // Tells the handlers that what they say goes nowhere.
  void Abandon() {
    const std::lock_guard lock(mu_);
    abandoned_ = true;
  }

  void Start(v1::AttachRequest start) {
    {
      const std::lock_guard lock(mu_);
      start.mutable_start()->mutable_credit()->set_messages(left_);
    }
    if (!Write(start)) return;
    begun_ = true;
    GiveCredit();  // that has come meanwhile
  }
  // Before the start has been said there is nothing to drain.
  void Drain() {
    if (!begun_) return Cancel();
    v1::AttachRequest drain;
    drain.mutable_drain();
    Write(drain);
  }

  // Takes a credit for a message that has come.
  void Take(uint64_t message_id) {
    const std::lock_guard lock(mu_);
    open_[message_id] = false;
    --left_;
  }
  // Its handler has ended.
  void Close(uint64_t message_id) {
    const std::lock_guard lock(mu_);
    open_.erase(message_id);
  }
  // For a message of this stream, or of one that was lost before it.
  void GiveBack() {
    {
      const std::lock_guard lock(mu_);
      ++used_;
    }
    GiveCredit();
  }
  void OnCancelled(uint64_t message_id) {
    const std::lock_guard lock(mu_);
    // The reply may have crossed it.
    const auto it = open_.find(message_id);
    if (it != open_.end()) it->second = true;
  }
  bool IsCancelled(uint64_t message_id) const {
    const std::lock_guard lock(mu_);
    return abandoned_ || open_.at(message_id);
  }

 private:
  // Many at a time, but none is held back while the broker has none left.
  void GiveCredit() {
    v1::AttachRequest request;
    {
      const std::lock_guard lock(mu_);
      if (!begun_ || used_ == 0) return;
      if (used_ < (all_ + 1) / 2 && left_ > 0) return;
      left_ += used_;
      request.mutable_credit()->set_messages(std::exchange(used_, 0));
    }
    Write(request);
  }

  const std::unique_ptr<AttachStream> stream_;
  std::mutex write_mu_;
  bool ended_ = false;  // by write_mu_
  std::atomic<bool> begun_ = false;
  mutable std::mutex mu_;
  const uint32_t all_;
  int64_t left_;       // credit that the broker has
  uint32_t used_ = 0;  // to be given back
  bool abandoned_ = false;
  std::map<uint64_t, bool> open_;  // messages, and whether they are cancelled
};

}  // namespace socketbroker
