// Gather: one answer from all shards. Each shard gives its part; the last one
// to do so finishes the whole, on its own thread.
//
// When a shard ends before it has run its task, the whole is UNAVAILABLE.

#pragma once

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"

namespace broker {

// How an asynchronous command answers: exactly once, on any thread.
template <typename T>
using Done = absl::AnyInvocable<void(absl::StatusOr<T>)>;

template <typename Part>
class Gather {
 public:
  Gather(size_t shards, Done<std::vector<Part>> done)
      : parts_(shards), missing_(shards), done_(std::move(done)) {}
  Gather(const Gather&) = delete;
  Gather& operator=(const Gather&) = delete;
  ~Gather() {
    if (done_) done_(absl::UnavailableError("the broker is shutting down"));
  }

  // Once for each shard, on any thread.
  void Give(size_t shard, Part part) {
    parts_[shard] = std::move(part);
    if (missing_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    std::exchange(done_, nullptr)(std::move(parts_));
  }

 private:
  std::vector<Part> parts_;
  std::atomic<size_t> missing_;
  Done<std::vector<Part>> done_;
};

}  // namespace broker
