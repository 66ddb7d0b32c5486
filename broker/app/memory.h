// The memory of the process: what it has, what it may have, and what to do when
// the one comes near the other.
//
// Functions for any thread; the monitor is made and destroyed on one.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "broker/core/ticker.h"
#include "broker/hub/hub.h"

namespace broker {

// The least limit of the process's memory cgroup and those around it, version 2
// or 1; 0: there is none. `root` is "/" but for tests.
uint64_t CgroupMemoryLimit(const std::string& root);

// Soft from 85 % of the limit on, hard from 95 %; each ends 5 % below where it
// began. A limit of 0 is none.
MemoryLevel NextMemoryLevel(MemoryLevel now, uint64_t resident, uint64_t limit);

// Reads the resident memory four times a second and tells the hub. While it is
// short, freed memory goes back to the system; while it is very short, the
// slowest connections are closed.
class MemoryMonitor {
 public:
  // The hub's transports run until it is gone.
  explicit MemoryMonitor(Hub& hub);

 private:
  void Check();
  void Shed(uint64_t bytes);

  Hub& hub_;
  const std::shared_ptr<std::atomic<bool>> shedding_;
  Ticker ticker_;
};

}  // namespace broker
