// How the hub runs a command on its shards: the private templates of Hub. For
// hub*.cc only.

#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/hub/hub.h"

namespace broker {

inline absl::Status ShuttingDown() {
  return absl::UnavailableError("the broker is shutting down");
}

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

template <typename T>
T Sum(const std::vector<T>& parts) {
  T sum{};
  for (const T& part : parts) sum += part;
  return sum;
}

// For a Done that only wants the sum of the parts.
template <typename T>
Done<std::vector<T>> Summed(Done<T> done) {
  return
      [done = std::move(done)](absl::StatusOr<std::vector<T>> parts) mutable {
        if (!parts.ok()) return done(parts.status());
        done(Sum(*parts));
      };
}

template <typename Part>
void Hub::OnAll(std::function<Part(Shard&)> task,
                Done<std::vector<Part>> done) {
  auto gather = std::make_shared<Gather<Part>>(shards_.size(), std::move(done));
  for (size_t i = 0; i < shards_.size(); ++i) {
    Post(i, [gather, task, i, shard = shards_[i].get()] {
      gather->Give(i, task(*shard));
    });
  }
}

template <typename T>
void Hub::OnOwner(const ConnectionId& id,
                  absl::AnyInvocable<absl::StatusOr<T>(Shard&)> task,
                  Done<T> done) {
  // An id that no shard of ours has made is looked for on one that will not
  // find it.
  const size_t owner = id.tag() % shards_.size();
  Post(owner,
       [task = std::move(task), answer = Answer<T>(std::move(done)),
        shard = shards_[owner].get()]() mutable { answer.Give(task(*shard)); });
}

}  // namespace broker
