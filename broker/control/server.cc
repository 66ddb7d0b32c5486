#include "broker/control/server.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "broker/control/reflection.h"
#include "broker/core/host_port.h"
#include "grpc/health/v1/health.pb.h"

namespace broker {
namespace {

constexpr char kService[] = "socketbroker.v1.SocketBroker";
// A filter of 64 KiB, ids to exclude: see kMaxMessageBytes.
constexpr uint64_t kRequestOverhead = 1 << 20;

void EnableHealth() {
  grpc::EnableDefaultHealthCheckService(true);
  // gRPC's own health service has no descriptor that reflection could show.
  // Naming ours keeps the linker from dropping it.
  grpc::health::v1::HealthCheckRequest::descriptor();
}

// The distribution's abseil is built for debugging: it enters every lock that
// gRPC takes into a graph, behind one lock of the process, and looks for
// cycles.
void LookForNoDeadlocks() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace

ControlServer::ControlServer(Hub& hub, Options options, BrokerFacts facts)
    : hub_(hub),
      options_(std::move(options)),
      facts_(std::move(facts)),
      service_(hub_, stats_, facts_) {}

ControlServer::~ControlServer() { Shutdown(absl::ZeroDuration()); }

absl::Status ControlServer::Start() {
  EnableHealth();
  LookForNoDeadlocks();
  grpc::ServerBuilder builder;
  facts_.control_host = options_.address;
  builder.AddListeningPort(HostPort(options_.address, options_.port),
                           grpc::InsecureServerCredentials(),
                           &facts_.control_port);
  // Else a second broker would silently share the port.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(kMaxMessageBytes + kRequestOverhead));
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 8 * 1024);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 1'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder.RegisterService(&service_);
  if (options_.reflection) {
    reflection_ = MakeReflection({kService, "grpc.health.v1.Health"});
    for (auto& version : reflection_) builder.RegisterService(version.get());
  }
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || facts_.control_port == 0) {
    server_.reset();
    return absl::UnavailableError(absl::StrCat(
        "control: cannot listen on ", HostPort(options_.address, options_.port),
        ": the port is taken, or the address is not of this machine"));
  }
  SetServing(true);
  return absl::OkStatus();
}

void ControlServer::SetServing(bool serving) {
  auto* health = server_->GetHealthCheckService();
  health->SetServingStatus("", serving);
  health->SetServingStatus(kService, serving);
}

void ControlServer::Shutdown(absl::Duration grace) {
  if (server_ == nullptr) return;
  server_->Shutdown(std::chrono::system_clock::now() +
                    absl::ToChronoMilliseconds(grace));
  server_->Wait();
  server_.reset();
}

}  // namespace broker
