#include "broker/control/supervisor.h"

#include <utility>

#include "broker/control/probe.h"
#include "broker/core/log.h"
#include "broker/core/status_macros.h"

namespace broker {
namespace {

// Nobody has come in for a while, but calls may be under way.
constexpr absl::Duration kLastGrace = absl::Milliseconds(500);

}  // namespace

ControlSupervisor::ControlSupervisor(std::string address, uint16_t port,
                                     Factory factory, Patience patience)
    : address_(std::move(address)),
      factory_(std::move(factory)),
      patience_(patience),
      port_(port) {}

absl::Status ControlSupervisor::Start() {
  std::shared_ptr<ControlServer> first = factory_(port_);
  BROKER_RETURN_IF_ERROR(first->Start());
  port_ = first->port();
  {
    MutexLock lock(mu_);
    server_ = std::move(first);
  }
  ticker_ = std::make_unique<Ticker>(patience_.interval, [this] { Check(); });
  return absl::OkStatus();
}

std::shared_ptr<ControlServer> ControlSupervisor::server() const {
  MutexLock lock(mu_);
  return server_;
}

void ControlSupervisor::Check() {
  switch (Probe(address_, port_, patience_.answer)) {
    case ProbeResult::kAnswers:
      misses_ = 0;
      return;
    case ProbeResult::kUnknown:
      return;
    case ProbeResult::kSilent:
      break;
  }
  // Also when there is still no server after the last attempt.
  if (++misses_ < patience_.misses) return;
  MutexLock lock(building_);
  Rebuild();
}

void ControlSupervisor::Rebuild() {
  Log(LogLevel::kError, "control_restarting",
      "the gRPC listener accepts nobody, and is built again",
      {{"address", server()->address()}, {"missed_probes", misses_}});
  server()->Shutdown(kLastGrace);
  std::shared_ptr<ControlServer> next = factory_(port_);
  const absl::Status started = next->Start();
  if (!started.ok()) {
    Log(LogLevel::kError, "control_restart_failed",
        "the gRPC listener could not be built again; the next attempt follows",
        {{"error", started.message()}});
    return;
  }
  next->SetServing(serving_);
  misses_ = 0;
  restarts_.Add();
  {
    MutexLock lock(mu_);
    server_ = std::move(next);
  }
  Log(LogLevel::kWarning, "control_restarted", "the gRPC API is back",
      {{"address", server()->address()}});
}

void ControlSupervisor::SetServing(bool serving) {
  MutexLock lock(building_);
  serving_ = serving;
  server()->SetServing(serving);
}

void ControlSupervisor::Shutdown(absl::Duration grace) {
  ticker_.reset();
  if (const std::shared_ptr<ControlServer> last = server()) {
    last->Shutdown(grace);
  }
}

}  // namespace broker
