#include "broker/journal/file_journal.h"

#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/core/log.h"
#include "broker/core/quoted.h"
#include "broker/core/status_macros.h"

namespace broker {
namespace {

absl::Status MakeDirectory(const std::string& state_dir) {
  // For the daemon alone: in it are account ids and hashes of sessions.
  if (mkdir(state_dir.c_str(), 0700) == 0 || errno == EEXIST) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(
      absl::StrCat("the directory ", Quoted(state_dir),
                   " cannot be made: ", std::strerror(errno)));
}

// What an operator reads who has a broker that does not start.
absl::Status Explain(const std::string& file, const absl::Status& status) {
  if (absl::IsFailedPrecondition(status)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the journal ", Quoted(file),
                     " is in use by another process: each broker needs a "
                     "state directory of its own"));
  }
  if (!absl::IsDataLoss(status)) {
    return absl::UnavailableError(absl::StrCat(
        "the journal ", Quoted(file), " cannot be used: ", status.message()));
  }
  return absl::DataLossError(absl::StrCat(
      "the journal ", Quoted(file), " is damaged (", status.message(),
      "), and the broker does not start without the revocations in it. To "
      "repair it, see \"A damaged journal\" in operations.md. To start without "
      "it, move ",
      file,
      "* away: credentials verified earlier are then "
      "refused once as too old, and what was blocked for a time (block_for, "
      "fence_ttl) no longer is"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileJournal>> FileJournal::Open(
    const std::string& state_dir, const Clock& clock) {
  BROKER_RETURN_IF_ERROR(MakeDirectory(state_dir));
  const std::string file = absl::StrCat(state_dir, "/journal.db");
  absl::StatusOr<FenceTable> table = FenceTable::Open(file);
  if (!table.ok()) return Explain(file, table.status());
  absl::StatusOr<JournalPast> past = table->Load(clock);
  if (!past.ok()) return Explain(file, past.status());
  return std::unique_ptr<FileJournal>(
      new FileJournal(*std::move(table), *std::move(past)));
}

FileJournal::FileJournal(FenceTable table, JournalPast past)
    : table_(std::move(table)),
      past_(std::move(past)),
      thread_([this] { Run(); }) {}

FileJournal::~FileJournal() {
  {
    MutexLock lock(mu_);
    ending_ = true;
  }
  changed_.NotifyOne();
  thread_.join();
}

void FileJournal::Append(FencePtr fence, Written written) {
  Change change;
  change.append = std::move(fence);
  change.written = std::move(written);
  Enqueue(std::move(change));
}

void FileJournal::Erase(std::vector<FencePtr> fences, uint64_t oldest_epoch,
                        Written written) {
  Change change;
  change.erase = std::move(fences);
  change.oldest_epoch = oldest_epoch;
  change.written = std::move(written);
  Enqueue(std::move(change));
}

void FileJournal::Enqueue(Change change) {
  {
    MutexLock lock(mu_);
    waiting_.push_back(std::move(change));
  }
  changed_.NotifyOne();
}

// ---- the thread -------------------------------------------------------------

void FileJournal::Run() {
  for (;;) {
    std::vector<Change> batch = NextBatch();
    if (batch.empty()) return;
    const auto start = std::chrono::steady_clock::now();
    const absl::Status status = Write(batch);
    const std::chrono::duration<double> took =
        std::chrono::steady_clock::now() - start;
    stats_.write_time.Observe(took.count());
    (status.ok() ? stats_.changes : stats_.failures).Add(batch.size());
    Report(status, batch.size());
    for (Change& change : batch) change.written(status);
  }
}

std::vector<FileJournal::Change> FileJournal::NextBatch() {
  MutexLock lock(mu_);
  while (waiting_.empty() && !ending_) changed_.Wait(mu_);
  return std::exchange(waiting_, {});
}

absl::Status FileJournal::Write(const std::vector<Change>& batch) {
  BROKER_RETURN_IF_ERROR(table_.Begin());
  absl::Status status;
  for (const Change& change : batch) {
    status = Apply(change);
    if (!status.ok()) break;
  }
  if (status.ok()) status = table_.Commit();
  if (!status.ok()) table_.Rollback();
  return status;
}

absl::Status FileJournal::Apply(const Change& change) {
  if (change.append != nullptr) {
    return table_.Insert(*change.append);
  }
  for (const FencePtr& fence : change.erase) {
    BROKER_RETURN_IF_ERROR(table_.Delete(*fence));
  }
  return table_.RaiseOldestEpoch(change.oldest_epoch);
}

void FileJournal::Report(const absl::Status& status, size_t changes) {
  if (status.ok() == !failing_) return;
  failing_ = !status.ok();
  if (failing_) {
    Log(LogLevel::kError, "journal_failed",
        "revocations cannot be written to the journal: they are enforced, but "
        "only until the broker restarts, and callers are told so",
        {{"changes", changes}, {"why", status.message()}});
  } else {
    Log(LogLevel::kInfo, "journal_recovered",
        "revocations are written to the journal again");
  }
}

}  // namespace broker
