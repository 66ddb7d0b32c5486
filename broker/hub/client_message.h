// ClientMessage: a client's message on its way to a service. Inflow: how much
// of a connection's is on that way, for which nobody waits.
//
// Both are shared by the connection's shard, which makes and ends them, and the
// stream of the service; what is not said to be confined is thread-safe.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "broker/core/identity.h"

namespace broker {

class Inflow {
 public:
  // `resume` has the client read from again: called on any thread, once for
  // each time that Add said to pause.
  Inflow(uint64_t window, absl::AnyInvocable<void()> resume)
      : window_(window), resume_(std::move(resume)) {}

  // ---- by the shard ----

  // A message of this weight waits. True: the client must not be read from
  // until `resume`.
  bool Add(uint64_t weight);
  // That of a message with so many bytes: 64 small ones fill the window.
  uint64_t WeightOf(uint64_t bytes) const {
    return std::max({bytes, window_ / 64, uint64_t{1}});
  }
  // No message of the connection is given to a service any more.
  void Close() { closed_ = true; }

  // ---- by whoever has the message ----

  bool closed() const { return closed_; }
  // It has been given to the service, or dropped.
  void Take(uint64_t weight);

 private:
  const uint64_t window_;
  absl::AnyInvocable<void()> resume_;
  std::atomic<uint64_t> waiting_{0};  // in weight
  std::atomic<bool> paused_{false};
  std::atomic<bool> closed_{false};
};

class ClientMessage {
 public:
  enum class Kind : uint8_t { kRequest, kNotification, kText, kBinary };

  Kind kind = Kind::kNotification;
  uint64_t id = 0;         // the shard is in its last byte
  std::string method;      // of a request or a notification
  std::string payload;     // its params, or the whole of a text or a binary
  ConnectionInfoPtr from;  // as it was then
  uint64_t sequence = 0;
  std::string traceparent;
  std::shared_ptr<Inflow> inflow;
  uint64_t weight = 0;     // in the inflow; 0: a request, whose client waits
  std::string request_id;  // as it stands in the request; for the shard

  size_t size() const { return method.size() + payload.size(); }

  // By the stream: the service gets it now. False: it is over.
  bool Give();
  // By the shard: a request is over. True: a service had been given it.
  bool End();
  bool given() const { return stage_ == Stage::kGiven; }
  bool over() const { return stage_ == Stage::kOver || inflow->closed(); }

 private:
  enum class Stage : uint8_t { kWaiting, kGiven, kOver };
  std::atomic<Stage> stage_{Stage::kWaiting};
};

using ClientMessagePtr = std::shared_ptr<ClientMessage>;

}  // namespace broker
