// FileJournal: the journal on disk, in a file of SQLite that a thread of its
// own writes. What comes while it writes is written together after that, with
// one fsync.

#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "broker/core/clock.h"
#include "broker/core/mutex.h"
#include "broker/hub/journal.h"
#include "broker/hub/stats.h"
#include "broker/journal/fence_table.h"

namespace broker {

class FileJournal final : public Journal {
 public:
  // In `state_dir`, which is made when only its last part is missing. The error
  // is for the operator: it names the file, and says what to do.
  static absl::StatusOr<std::unique_ptr<FileJournal>> Open(
      const std::string& state_dir, const Clock& clock);
  // Writes what waits first.
  ~FileJournal() override;

  // What earlier runs left. To be taken once.
  JournalPast TakePast() { return std::move(past_); }

  void Append(FencePtr fence, Written written) override;
  void Erase(std::vector<FencePtr> fences, uint64_t oldest_epoch,
             Written written) override;

  const JournalStats& stats() const { return stats_; }

 private:
  struct Change {
    FencePtr append;              // or
    std::vector<FencePtr> erase;  // and
    uint64_t oldest_epoch = 0;
    Written written;
  };

  FileJournal(FenceTable table, JournalPast past);
  void Enqueue(Change change);
  void Run();
  // Empty when the journal ends.
  std::vector<Change> NextBatch();
  absl::Status Write(const std::vector<Change>& batch);
  absl::Status Apply(const Change& change);
  void Report(const absl::Status& status, size_t changes);

  // Of the thread, once it runs.
  FenceTable table_;
  bool failing_ = false;

  JournalPast past_;
  JournalStats stats_;
  Mutex mu_;
  CondVar changed_;
  std::vector<Change> waiting_ ABSL_GUARDED_BY(mu_);
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace broker
