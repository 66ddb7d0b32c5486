// How the hub runs a command on its shards: the private templates of Hub. For
// hub*.cc only.

#pragma once

#include <atomic>
#include <cassert>
#include <memory>
#include <type_traits>
#include <utility>

#include "absl/container/fixed_array.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "broker/hub/hub.h"

namespace broker {

inline absl::Status ShuttingDown() {
  return absl::UnavailableError("the broker is shutting down");
}

// ---- one shard --------------------------------------------------------------

// Answers when it is dropped without having been asked, as the task of a
// transport that has ended is.
template <typename T>
class Answer {
 public:
  explicit Answer(Done<T> done) : done_(std::move(done)) {}
  Answer(Answer&& other) noexcept
      : done_(std::exchange(other.done_, nullptr)) {}
  ~Answer() {
    if (done_) done_(ShuttingDown());
  }
  void Give(absl::StatusOr<T> result) {
    std::exchange(done_, nullptr)(std::move(result));
  }

 private:
  Done<T> done_;
};

template <typename T, typename Task>
void Hub::OnOwner(const ConnectionId& id, Task task, Done<T> done) {
  // An id that no shard of ours has made is looked for on one that will not
  // find it.
  const size_t owner = id.tag() % shards_.size();
  Post(owner,
       [task = std::move(task), answer = Answer<T>(std::move(done)),
        shard = shards_[owner].get()]() mutable { answer.Give(task(*shard)); });
}

// ---- all shards -------------------------------------------------------------

// What the shards have given, in their order; or UNAVAILABLE, when one of them
// has ended before it ran its task.
template <typename Part>
using Parts = absl::StatusOr<absl::Span<Part>>;

// A command on its way through all shards: what each is to do, what each has
// given, and who waits for it all. All of that is one allocation. It is owned
// by the Shares together, and gone with the last.
//
// The task is called with every shard, on their threads at the same time; the
// finish once, with the Parts, on the thread of the last.
template <typename Task, typename Finish>
class FanOut {
 public:
  using Part = std::invoke_result_t<const Task&, Shard&>;

  FanOut(size_t shards, Task task, Finish finish)
      : task_(std::move(task)),
        finish_(std::move(finish)),
        parts_(shards),
        missing_(shards) {}
  FanOut(const FanOut&) = delete;
  FanOut& operator=(const FanOut&) = delete;

  // What one shard is posted: so small that it costs no allocation of its own.
  class Share {
   public:
    Share(FanOut& whole, Shard& shard) : whole_(&whole), shard_(&shard) {}
    Share(Share&& other) noexcept
        : whole_(std::exchange(other.whole_, nullptr)), shard_(other.shard_) {}
    ~Share() {
      if (whole_ != nullptr) whole_->Leave(/*ran=*/false);
    }
    void operator()() {
      whole_->parts_[shard_->index()] = whole_->task_(*shard_);
      std::exchange(whole_, nullptr)->Leave(/*ran=*/true);
    }

   private:
    FanOut* whole_;
    Shard* shard_;
  };

 private:
  void Leave(bool ran) {
    if (!ran) cut_short_.store(true, std::memory_order_relaxed);
    if (missing_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    const std::unique_ptr<FanOut> last(this);
    if (cut_short_.load(std::memory_order_relaxed)) {
      finish_(Parts<Part>(ShuttingDown()));
    } else {
      finish_(Parts<Part>(absl::MakeSpan(parts_)));
    }
  }

  const Task task_;
  Finish finish_;
  absl::FixedArray<Part> parts_;  // by shard
  std::atomic<size_t> missing_;
  std::atomic<bool> cut_short_{false};
};

template <typename Task, typename Finish>
void Hub::OnAll(Task task, Finish finish) {
  using Whole = FanOut<Task, Finish>;
  static_assert(sizeof(typename Whole::Share) <= 2 * sizeof(void*));
  const size_t shards = shards_.size();
  assert(shards > 0);  // else nobody would end it
  auto* whole = new Whole(shards, std::move(task), std::move(finish));
  for (size_t i = 0; i < shards; ++i) {
    Post(i, typename Whole::Share(*whole, *shards_[i]));
  }
}

// A finish for who only wants the sum of the parts.
template <typename T>
auto Summed(Done<T> done) {
  return [done = std::move(done)](Parts<T> parts) mutable {
    if (!parts.ok()) return done(parts.status());
    T sum{};
    for (const T& part : *parts) sum += part;
    done(sum);
  };
}

}  // namespace broker
