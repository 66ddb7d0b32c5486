// ShardStats and JournalStats: what a shard and the journal count, for
// /metrics. Written on the shard's thread, or the journal's; read on any.

#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "broker/core/metrics.h"
#include "broker/core/mutex.h"

namespace broker {

// Counts by a small set of numbers, such as close codes or HTTP statuses.
class CounterByCode {
 public:
  void Add(int code) {
    MutexLock lock(mu_);
    ++counts_[code];
  }
  absl::flat_hash_map<int, uint64_t> values() const {
    MutexLock lock(mu_);
    return counts_;
  }

 private:
  mutable Mutex mu_;
  absl::flat_hash_map<int, uint64_t> counts_ ABSL_GUARDED_BY(mu_);
};

struct ShardStats {
  // By broker/ws.
  Counter sockets_accepted;
  Counter accept_failures;      // no descriptor, no memory
  Counter sockets_turned_away;  // beyond the headroom for refusals
  Counter handshake_timeouts;
  CounterByCode handshakes;  // by HTTP status; 101 is success, 0 no proper head
  Counter tls_failures;      // of handshakes
  Counter bytes_in;          // read from sockets, before or without TLS
  Counter bytes_out;         // taken by the kernel, or by TLS
  Gauge outbox_bytes;        // accepted, not yet taken by the kernel
  Gauge outbox_peak_bytes;   // the most that one connection's ever were
  Gauge slow_connections;    // with an outbox over its soft limit
  Counter pings_in;

  // By the shard.
  Counter messages_in;
  Counter messages_in_dropped;      // nobody listens, or the envelope was bad
  Counter client_requests;          // of JSON-RPC
  Counter client_requests_refused;  // nobody serves them, or there is no room
  Counter client_requests_lost;     // no reply in time, or the service left
  Counter questions;                // requests to clients
  Counter replies_unmatched;        // of clients, to no question
  Counter messages_out;             // one per recipient that queued it
  Counter messages_out_dropped_slow;
  Counter messages_out_expired;
  Counter connections_shed;  // for want of memory
  CounterByCode closes;      // by the code on the wire; 1006: none
  Histogram fan_out;         // one observation per send on this shard
};

struct JournalStats {
  Counter changes;       // written
  Counter failures;      // changes that could not be written
  Histogram write_time;  // one observation per fsync
};

}  // namespace broker
