// ControlServer: the gRPC server with SocketBroker, health and reflection.
// Thread-safe after Start.

#pragma once

#include <grpcpp/server.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "broker/control/handlers.h"
#include "broker/control/service.h"
#include "broker/control/tls.h"
#include "broker/hub/hub.h"
#include "broker/rpc/access.h"
#include "broker/rpc/rpc_stats.h"

namespace broker {

class ControlServer {
 public:
  struct Options {
    std::string address = "127.0.0.1";  // an IP address
    uint16_t port = 50051;              // 0: any
    bool tcp = true;
    std::string unix_socket;  // a path; empty: none
    bool reflection = true;
  };

  // `access` and `tls` may serve one server after another; null: plain text.
  // TLS is of TCP only. Start fills in `facts.control_address`.
  ControlServer(Hub& hub, const Access& access, ControlTls* tls,
                Options options, BrokerFacts facts);
  ~ControlServer();

  // Binds and serves. The error names what could not be listened on.
  absl::Status Start();
  uint16_t port() const { return port_; }  // of TCP
  // "127.0.0.1:50051", or "unix:/path" when there is no other listener.
  const std::string& address() const { return facts_.control_address; }

  RpcStats& stats() { return stats_; }

  // What the RPC of that name answers.
  void GetBrokerInfo(Done<socketbroker::v1::GetBrokerInfoResponse> done) {
    control::GetBrokerInfo(hub_, *AnonymousCaller(), facts_, std::move(done));
  }

  // What grpc.health.v1 says of "" and of the service.
  void SetServing(bool serving);

  // Lets calls end until the deadline, then cancels what is left; returns when
  // all are gone.
  void Shutdown(absl::Duration grace);

 private:
  absl::Status PrepareUnixSocket() const;

  Hub& hub_;
  const Access& access_;
  ControlTls* const tls_;
  const Options options_;
  uint16_t port_ = 0;
  BrokerFacts facts_;
  RpcStats stats_;
  SocketBrokerService service_;
  std::vector<std::unique_ptr<grpc::Service>> reflection_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace broker
