// WsServer: the sockets of the broker: one thread for each shard, all accepting
// on one address and port.
//
// Every method on one thread, but for StopAccepting. Free of Asio and
// websocketpp.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "broker/hub/shard.h"
#include "broker/hub/transport.h"
#include "broker/ws/tls_context.h"

namespace broker {

class IoThread;

class WsServer {
 public:
  struct Options {
    std::string address = "127.0.0.1";  // IPv4 or IPv6
    uint16_t port = 8080;               // 0: any that is free
    int shards = 1;
    TlsContextPtr tls;  // null: no TLS
  };

  explicit WsServer(Options options);
  ~WsServer();  // stops
  WsServer(const WsServer&) = delete;
  WsServer& operator=(const WsServer&) = delete;

  // One for each shard. Tasks may be posted from now on; they run after Start.
  absl::Span<Transport* const> transports() const { return transports_; }

  // Binds the address and listens: clients wait until Start. The error says
  // what could not be bound, and why.
  absl::Status Bind();
  // After Bind.
  uint16_t port() const { return port_; }

  // Starts the threads. The shards must outlive Stop.
  void Start(absl::Span<Shard* const> shards);
  // For sockets that are accepted from now on. After Start.
  void SetTls(const TlsContextPtr& tls);
  // Closes the listeners, soon. Any thread.
  void StopAccepting();
  // Ends every socket at once and the threads. Idempotent.
  void Stop();

  // Connections that exist in the process, also those that are being taken
  // down. Any thread.
  static int64_t live_connections();

 private:
  const Options options_;
  std::vector<std::unique_ptr<IoThread>> threads_;
  std::vector<Transport*> transports_;
  std::vector<int> listeners_;  // until Start
  uint16_t port_ = 0;
};

}  // namespace broker
