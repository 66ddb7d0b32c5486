// ControlSupervisor: keeps the gRPC server alive. gRPC's listener can die in
// silence: in 1.51 one accept without a free descriptor is enough. So it is
// asked again and again whether it accepts, and a server that does not is ended
// and built again, on the same port. Its streams end; their clients come back.
//
// Start and Shutdown on one thread, the rest on any.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "broker/control/server.h"
#include "broker/core/metrics.h"
#include "broker/core/mutex.h"
#include "broker/core/ticker.h"

namespace broker {

class ControlSupervisor {
 public:
  struct Patience {
    std::chrono::milliseconds interval{2'000};  // between two probes
    std::chrono::milliseconds answer{1'000};    // of one
    int misses = 3;                             // in a row
  };
  // Makes a server that is not started yet, always from the same inputs, but
  // for the port.
  using Factory = std::function<std::unique_ptr<ControlServer>(uint16_t port)>;

  // `address` is where the server will listen, as Probe takes it.
  ControlSupervisor(std::string address, uint16_t port, Factory factory,
                    Patience patience);
  ControlSupervisor(std::string address, uint16_t port, Factory factory)
      : ControlSupervisor(std::move(address), port, std::move(factory),
                          Patience()) {}

  // Builds the first server and begins to watch it.
  absl::Status Start();
  // The one that there is now, or that was there last.
  std::shared_ptr<ControlServer> server() const;
  uint64_t restarts() const { return restarts_.value(); }

  // Of this server and of those that follow it.
  void SetServing(bool serving);
  // See ControlServer. None follows.
  void Shutdown(absl::Duration grace);

 private:
  void Check();
  void Rebuild() ABSL_EXCLUSIVE_LOCKS_REQUIRED(building_);

  const std::string address_;
  const Factory factory_;
  const Patience patience_;
  uint16_t port_;
  int misses_ = 0;  // of the ticker's thread
  SharedCounter restarts_;
  Mutex building_;  // held while one server follows another
  bool serving_ ABSL_GUARDED_BY(building_) = true;
  mutable Mutex mu_;
  std::shared_ptr<ControlServer> server_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<Ticker> ticker_;
};

}  // namespace broker
