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
#include "broker/hub/hub.h"
#include "broker/rpc/rpc_stats.h"

namespace broker {

class ControlServer {
 public:
  struct Options {
    std::string address = "127.0.0.1";  // an IP address
    uint16_t port = 50051;              // 0: any
    bool reflection = true;
  };

  // Start fills in `facts.control_host` and `facts.control_port`.
  ControlServer(Hub& hub, Options options, BrokerFacts facts);
  ~ControlServer();

  // Binds and serves. The error names address and port.
  absl::Status Start();
  uint16_t port() const { return static_cast<uint16_t>(facts_.control_port); }
  RpcStats& stats() { return stats_; }

  // What the RPC of that name answers.
  void GetBrokerInfo(Done<socketbroker::v1::GetBrokerInfoResponse> done) {
    control::GetBrokerInfo(hub_, facts_, std::move(done));
  }

  // What grpc.health.v1 says of "" and of the service.
  void SetServing(bool serving);

  // Lets calls end until the deadline, then cancels what is left; returns when
  // all are gone.
  void Shutdown(absl::Duration grace);

 private:
  Hub& hub_;
  const Options options_;
  BrokerFacts facts_;
  RpcStats stats_;
  SocketBrokerService service_;
  std::vector<std::unique_ptr<grpc::Service>> reflection_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace broker
