// Server: the daemon put together from its modules, from start to drain.
//
// Confined to the thread that made it, but for what it starts.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "broker/admin/admin_server.h"
#include "broker/app/memory.h"
#include "broker/callout/grpc_callout.h"
#include "broker/control/server.h"
#include "broker/control/supervisor.h"
#include "broker/hub/hub.h"
#include "broker/hub/settings.h"
#include "broker/journal/file_journal.h"
#include "broker/ws/server.h"

namespace broker {

struct ServerOptions {
  WsServer::Options websocket;
  ControlServer::Options control;
  ControlCertificatesPtr control_tls;  // null: plain text
  CallersPtr callers;                  // null: everybody may do everything
  bool admin_enabled = true;
  std::string admin_address = "127.0.0.1";
  uint16_t admin_port = 8081;
  SettingsPtr settings;
  std::string state_dir;  // empty: revocations last as long as the server
  std::string version;
};

class Server {
 public:
  // The callout is for endpoints with the way CALLOUT; null: there is none.
  Server(ServerOptions options, std::unique_ptr<GrpcCallout> callout);
  ~Server();  // ends everything at once

  // Listens everywhere, then serves. The error names what could not be had.
  absl::Status Start();

  // What a reload changes, for sockets, handshakes and calls from now on. Null
  // only where there was none.
  struct Reloaded {
    SettingsPtr settings;
    TlsContextPtr websocket_tls;
    ControlCertificatesPtr control_tls;
    CallersPtr callers;
  };
  void Reload(const Reloaded& reloaded);

  // Not ready, upgrades refused with 503; connections closed with 1001, spread
  // over the window; calls ended. Returns when all is quiet, or the window is
  // over, or `hurry` returns true.
  void Drain(absl::Duration window, const std::function<bool()>& hurry);

  std::string websocket_address() const;
  bool websocket_tls() const { return options_.websocket.tls != nullptr; }
  std::string control_address() const;
  std::string admin_address() const;  // empty: not enabled
  const Hub& hub() const { return *hub_; }

 private:
  absl::Status MakeHub();
  AdminSource MakeAdminSource();
  std::vector<prometheus::MetricFamily> CollectMetrics();
  std::string StatusJson();
  bool ShardsAnswer();

  const ServerOptions options_;
  std::atomic<int64_t> certificate_expires_{0};  // Unix time; with TLS only
  WsServer websocket_;
  std::unique_ptr<FileJournal> journal_;  // null: none
  std::unique_ptr<GrpcCallout> callout_;
  std::unique_ptr<Hub> hub_;
  // Of every gRPC server, should one follow another.
  Access access_;
  std::unique_ptr<ControlTls> control_tls_;
  std::unique_ptr<ControlSupervisor> control_;
  std::unique_ptr<MemoryMonitor> memory_;
  std::unique_ptr<AdminServer> admin_;
};

}  // namespace broker
