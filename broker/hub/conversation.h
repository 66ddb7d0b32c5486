// Conversation: what a shard keeps of a connection that talks: the requests of
// its client that services have, those that the broker has put to the client,
// and what waits for its turn.
//
// Confined to the shard's thread.

#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "broker/core/timer_wheel.h"
#include "broker/hub/client_message.h"
#include "broker/hub/commands.h"
#include "broker/hub/services.h"

namespace broker {

// A request of a client, until it is replied to.
struct OpenRequest {
  Slot slot = 0;
  ClientMessagePtr message;
  AttachFeedPtr service;
  Timer timer;  // its timeout
};

// A request to a client, until it is settled.
struct Question {
  std::function<void(AskOutcome)> settle;  // once
  Timer timer;
};

struct Conversation {
  // Requests that the broker may have put to one client at a time.
  static constexpr size_t kMaxQuestions = 256;

  uint64_t sequence = 0;    // of the client's last message
  std::string traceparent;  // of the handshake
  std::shared_ptr<Inflow> inflow;
  StickyServices sticky;
  std::vector<uint64_t> open;        // ids of its requests with services
  uint64_t open_bytes = 0;           // of those
  std::list<ClientMessagePtr> held;  // behind them, where the order is strict
  // By the number of the id.
  absl::flat_hash_map<uint64_t, std::unique_ptr<Question>> questions;
};

}  // namespace broker
