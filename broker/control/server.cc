#include "broker/control/server.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "broker/control/reflection.h"
#include "broker/core/host_port.h"
#include "broker/core/quoted.h"
#include "broker/core/status_macros.h"
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

ControlServer::ControlServer(Hub& hub, const Access& access, ControlTls* tls,
                             Options options, BrokerFacts facts)
    : hub_(hub),
      access_(access),
      tls_(tls),
      options_(std::move(options)),
      facts_(std::move(facts)),
      service_(hub_, access_, stats_, facts_) {}

ControlServer::~ControlServer() { Shutdown(absl::ZeroDuration()); }

absl::Status ControlServer::Start() {
  EnableHealth();
  LookForNoDeadlocks();
  grpc::ServerBuilder builder;
  int port = 0;
  int unix_socket = 0;
  if (options_.tcp) {
    builder.AddListeningPort(HostPort(options_.address, options_.port),
                             tls_ != nullptr
                                 ? tls_->MakeCredentials()
                                 : grpc::InsecureServerCredentials(),
                             &port);
  }
  if (!options_.unix_socket.empty()) {
    BROKER_RETURN_IF_ERROR(PrepareUnixSocket());
    builder.AddListeningPort(absl::StrCat("unix:", options_.unix_socket),
                             grpc::InsecureServerCredentials(), &unix_socket);
  }
  // Else a second broker would silently share the port.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.SetMaxReceiveMessageSize(
      static_cast<int>(kMaxMessageBytes + kRequestOverhead));
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 8 * 1024);
  // A RequestConnection waits for a client: many of a caller do at once.
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 1'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(
      GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  // So that callers come back and find what DNS or a certificate says now. The
  // streams of attached services may go on: cutting one costs its clients an
  // error each.
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, 30 * 60'000);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                             12 * 3600'000);
  builder.RegisterService(&service_);
  if (options_.reflection) {
    reflection_ = MakeReflection({kService, "grpc.health.v1.Health"}, access_);
    for (auto& version : reflection_) builder.RegisterService(version.get());
  }
  server_ = builder.BuildAndStart();
  const bool unix_failed = !options_.unix_socket.empty() && unix_socket == 0;
  if (server_ == nullptr || (options_.tcp && port == 0) || unix_failed) {
    server_.reset();
    if (options_.tcp && port == 0) {
      return absl::UnavailableError(absl::StrCat(
          "control: cannot listen on ",
          HostPort(options_.address, options_.port),
          ": the port is taken, or the address is not of this machine"));
    }
    return absl::UnavailableError(absl::StrCat(
        "control: cannot listen on ", Quoted(options_.unix_socket),
        ": the directory is missing or may not be written, or something that "
        "is no socket is there"));
  }
  port_ = static_cast<uint16_t>(port);
  facts_.control_address = options_.tcp
                               ? HostPort(options_.address, port)
                               : absl::StrCat("unix:", options_.unix_socket);
  if (!options_.unix_socket.empty()) {
    // For the broker's user and group.
    ::chmod(options_.unix_socket.c_str(), 0660);
  }
  SetServing(true);
  return absl::OkStatus();
}

// gRPC would take the place of a broker that is there.
absl::Status ControlServer::PrepareUnixSocket() const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  options_.unix_socket.copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool answered =
      fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&address),
                           sizeof address) == 0;
  if (fd >= 0) ::close(fd);
  if (!answered) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("control: cannot listen on ", Quoted(options_.unix_socket),
                   ": another process listens there"));
}

void ControlServer::SetServing(bool serving) {
  if (server_ == nullptr) return;  // it has ended, or could not start
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
