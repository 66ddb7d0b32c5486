// Pump: makes calls, keeping a number of them in flight, and counts what came
// of them.

#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "tools/bench/common/histogram.h"

namespace bench {

// What one call, or one item of a batch, came to.
struct Outcome {
  std::string error;  // empty: OK
  uint64_t matched = 0;
  uint64_t queued = 0;
  uint64_t dropped = 0;
  uint64_t closed = 0;
};

// One way of calling. A slot has one call in flight at a time and is a sender
// of its own, so that its messages stay in order. `done` comes from a thread of
// gRPC, never from within Start.
//
// Unary calls are UnarySource; a stream is to be another one, with a slot for
// each message that it has in flight.
class Source {
 public:
  using Done = std::function<void(const Outcome&)>;
  virtual ~Source() = default;
  virtual void Start(size_t slot, uint64_t index, Done done) = 0;
};

struct PumpOptions {
  uint64_t count = 1;
  size_t flight = 1;
  // Calls in a second; 0: each as soon as there is a slot.
  double rate = 0;
  // Starts `flight` calls together, then waits for all of them.
  bool bursts = false;
  // No call starts after this long.
  double limit_seconds = 30;
};

struct PumpResult {
  uint64_t done = 0;
  uint64_t failed = 0;
  std::string first_error;
  Outcome sum;
  uint64_t start_ns = 0;
  uint64_t end_ns = 0;
  Histogram latency_ns;
};

class Pump {
 public:
  Pump(Source& source, const PumpOptions& options);

  // Returns when all calls have been made and answered, or the limit has
  // passed.
  PumpResult Run();

 private:
  // False: all were made, or the time is up.
  bool More() const;
  void IssueFrom(size_t slot, std::unique_lock<std::mutex>& lock);
  void OnDone(size_t slot, uint64_t started_ns, const Outcome& outcome);
  void IssuePaced(std::unique_lock<std::mutex>& lock);
  void IssueBursts(std::unique_lock<std::mutex>& lock);

  Source& source_;
  const PumpOptions options_;
  const uint64_t start_ns_;
  const uint64_t stop_ns_;
  std::mutex mu_;
  std::condition_variable changed_;
  std::vector<size_t> free_;
  uint64_t issued_ = 0;
  size_t starting_ = 0;  // threads that are within Source::Start
  PumpResult result_;
};

}  // namespace bench
