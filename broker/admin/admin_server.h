// AdminServer: HTTP for operators and their tools.
//
//   /livez    200 while the broker works at all, else 503: restart it
//   /readyz   200 while it takes connections, else 503: send them elsewhere
//   /statusz  what it is and holds, as JSON
//   /metrics  the Prometheus text format
//
// It has no notion of who asks: keep it on loopback. A thread of its own and a
// few workers serve it, so a page may wait for the shards, and one that hangs
// takes nothing from them.
//
// Made, bound, served and stopped on one thread.

#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace broker {

// Called on the workers, several at a time; may block for a few seconds.
struct AdminSource {
  std::function<bool()> live;
  std::function<bool()> ready;
  std::function<std::string()> status_json;
  std::function<std::vector<prometheus::MetricFamily>()> metrics;
};

class AdminServer {
 public:
  explicit AdminServer(AdminSource source);
  ~AdminServer();  // stops
  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  // `address` is an IP address; port 0: any that is free. From now on clients
  // can connect, and wait for Serve. The error names what could not be bound.
  absl::Status Bind(const std::string& address, uint16_t port);
  // After Bind.
  uint16_t port() const { return port_; }

  // Once, after Bind.
  void Serve();
  // Cuts off whoever is still being served. Idempotent. When it returns, the
  // source is not called again.
  void Stop();

 private:
  class Http;

  const AdminSource source_;
  std::unique_ptr<Http> http_;
  uint16_t port_ = 0;
};

}  // namespace broker
