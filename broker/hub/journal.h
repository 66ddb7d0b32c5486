// Journal: keeps fences beyond the life of the process. A port: broker/journal
// has the one on disk, tests/fakes one in memory.

#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "broker/core/clock.h"
#include "broker/registry/fence.h"

namespace broker {

// Thread-safe. Nothing blocks. Changes take effect in the order of the calls,
// each wholly or not at all.
class Journal {
 public:
  // Told once, on the journal's own thread and never from within the call: OK
  // when the change will survive a crash, else why it may not.
  using Written = absl::AnyInvocable<void(absl::Status)>;

  virtual ~Journal() = default;

  virtual void Append(FencePtr fence, Written written) = 0;
  // Drops fences, and keeps that epochs older than `oldest_epoch` are refused.
  virtual void Erase(std::vector<FencePtr> fences, uint64_t oldest_epoch,
                     Written written) = 0;
};

// What is known of earlier runs when one begins.
struct JournalPast {
  uint64_t first_epoch = 0;   // this run's: no earlier run gave out a later one
  uint64_t oldest_epoch = 0;  // every fence from here on is among these:
  std::vector<FencePtr> fences;

  // Nothing is known: epochs start at the Unix time in microseconds, so that
  // none of an earlier run is ahead, and each of those is too old.
  static JournalPast None(const Clock& clock);
};

}  // namespace broker
