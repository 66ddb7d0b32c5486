// FenceTable: the journal's file.
//
// Confined to one thread at a time.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/core/clock.h"
#include "broker/hub/journal.h"
#include "broker/journal/database.h"
#include "broker/registry/fence.h"

namespace broker {

class FenceTable {
 public:
  // A new file gets its tables. DATA_LOSS: it is damaged, or no journal.
  static absl::StatusOr<FenceTable> Open(const std::string& file);

  // Everything in it, and the epochs of a run that begins now.
  absl::StatusOr<JournalPast> Load(const Clock& clock);

  // The changes between the two are made together, or not at all.
  absl::Status Begin() { return db_.Run("BEGIN IMMEDIATE"); }
  absl::Status Commit();
  void Rollback();

  absl::Status Insert(const Fence& fence);
  absl::Status Delete(const Fence& fence);
  absl::Status RaiseOldestEpoch(uint64_t epoch);

 private:
  FenceTable(Database db, Statement insert, Statement remove, Statement raise,
             Statement set)
      : db_(std::move(db)),
        insert_(std::move(insert)),
        remove_(std::move(remove)),
        raise_(std::move(raise)),
        set_(std::move(set)) {}

  absl::StatusOr<std::vector<FencePtr>> LoadFences(const Clock& clock);
  // nullopt: it was never written.
  absl::StatusOr<std::optional<uint64_t>> LoadNumber(const char* number);
  absl::Status Raise(const char* number, uint64_t value);

  Database db_;  // before its statements: they must go first
  Statement insert_;
  Statement remove_;
  Statement raise_;
  Statement set_;
  // The last epoch that this run may give out. It is kept, so that the next run
  // begins above it, whatever the wall clock says then.
  uint64_t reserved_ = 0;
  // How many fences are in the table, and what the file says of that: so none
  // can be missing unnoticed.
  uint64_t count_ = 0;
  uint64_t stored_count_ = 0;
};

}  // namespace broker
