#include "broker/journal/fence_table.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "broker/core/status_macros.h"
#include "broker/journal/fence_row.h"

namespace broker {
namespace {

constexpr int64_t kApplicationId = 0x534b4252;  // "SKBR"
constexpr int64_t kVersion = 2;
// Epochs that are reserved at a time: as many as microseconds in a second, so
// that restarts do not run ahead of the clock.
constexpr uint64_t kReserve = 1'000'000;

// Times are Unix microseconds. A seal is over all that is before it.
constexpr char kTables[] = R"(
  CREATE TABLE fences (
    epoch INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT,
    keep_token_hash TEXT,
    namespaces TEXT,               -- with commas between; NULL: every one
    filter BLOB,                   -- socketbroker.v1.FilterExpr
    within BLOB,                   -- likewise
    created INTEGER NOT NULL,
    blocks_until INTEGER NOT NULL,  -- 0: it does not block
    forgotten_at INTEGER NOT NULL,
    seal BLOB NOT NULL) STRICT;
  CREATE TABLE numbers (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL,
    seal BLOB NOT NULL) STRICT;
  PRAGMA application_id = 1397441106;
  PRAGMA user_version = 2)";
constexpr char kInsert[] =
    "INSERT INTO fences VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
constexpr char kSelect[] = "SELECT * FROM fences ORDER BY epoch";
constexpr char kDelete[] = "DELETE FROM fences WHERE epoch = ?";
constexpr char kRaise[] =
    "INSERT INTO numbers VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE "
    "SET value = excluded.value, seal = excluded.seal "
    "WHERE excluded.value > value";
constexpr char kSet[] = "INSERT OR REPLACE INTO numbers VALUES (?, ?, ?)";
constexpr char kNumber[] = "SELECT value, seal FROM numbers WHERE name = ?";
constexpr char kOldestEpoch[] = "oldest_epoch";
constexpr char kReservedEpoch[] = "reserved_epoch";
constexpr char kFences[] = "fences";

std::string SealOfNumber(absl::string_view number, uint64_t value) {
  return SealOf(absl::StrCat(number, " ", value));
}

// With one of the statements that write numbers.
absl::Status WriteNumber(Statement& statement, const char* number,
                         uint64_t value) {
  const std::string seal = SealOfNumber(number, value);
  statement.BindText(0, absl::string_view(number));
  statement.Bind(1, static_cast<int64_t>(value));
  statement.BindBlob(2, absl::string_view(seal));
  return statement.Run();
}

absl::Status MakeTables(Database& db) {
  BROKER_RETURN_IF_ERROR(db.Run("BEGIN IMMEDIATE"));
  BROKER_RETURN_IF_ERROR(db.Run(kTables));
  BROKER_ASSIGN_OR_RETURN(Statement set, Statement::Prepare(db, kSet));
  BROKER_RETURN_IF_ERROR(WriteNumber(set, kFences, 0));
  return db.Run("COMMIT");
}

// Whether all fences are there. A file that was repaired may lack some.
absl::Status CheckCount(uint64_t found, std::optional<uint64_t> written) {
  if (!written) {
    return absl::DataLossError("the number of its fences is missing");
  }
  if (found == *written) return absl::OkStatus();
  if (found > *written) {
    return absl::DataLossError(absl::StrCat(
        "there are ", found, " fences in it, and ", *written, " were written"));
  }
  return absl::DataLossError(absl::StrCat(
      *written - found, " of the ", *written, " fences in it are missing"));
}

}  // namespace

// ---- opening --------------------------------------------------------------

absl::StatusOr<FenceTable> FenceTable::Open(const std::string& file) {
  BROKER_ASSIGN_OR_RETURN(Database db, Database::Open(file));
  BROKER_ASSIGN_OR_RETURN(
      const int64_t tables,
      db.Number("SELECT count(*) + application_id FROM sqlite_schema, "
                "pragma_application_id"));
  if (tables == 0) BROKER_RETURN_IF_ERROR(MakeTables(db));
  BROKER_ASSIGN_OR_RETURN(const int64_t application,
                          db.Number("PRAGMA application_id"));
  BROKER_ASSIGN_OR_RETURN(const int64_t version,
                          db.Number("PRAGMA user_version"));
  if (application != kApplicationId) {
    return absl::DataLossError("it is a database of another program");
  }
  if (version != kVersion) {
    return absl::DataLossError(absl::StrCat(
        "its version is ", version, ", and this broker reads ", kVersion));
  }
  BROKER_ASSIGN_OR_RETURN(Statement check,
                          Statement::Prepare(db, "PRAGMA quick_check(1)"));
  BROKER_RETURN_IF_ERROR(check.Step().status());
  const std::string found = check.Text(0).value_or("");
  if (found != "ok") return absl::DataLossError(found);
  BROKER_ASSIGN_OR_RETURN(Statement insert, Statement::Prepare(db, kInsert));
  BROKER_ASSIGN_OR_RETURN(Statement remove, Statement::Prepare(db, kDelete));
  BROKER_ASSIGN_OR_RETURN(Statement raise, Statement::Prepare(db, kRaise));
  BROKER_ASSIGN_OR_RETURN(Statement set, Statement::Prepare(db, kSet));
  // Gives pages back that are no longer used.
  BROKER_RETURN_IF_ERROR(db.Run("PRAGMA incremental_vacuum"));
  return FenceTable(std::move(db), std::move(insert), std::move(remove),
                    std::move(raise), std::move(set));
}

absl::StatusOr<JournalPast> FenceTable::Load(const Clock& clock) {
  const JournalPast none = JournalPast::None(clock);
  JournalPast past;
  BROKER_ASSIGN_OR_RETURN(past.fences, LoadFences(clock));
  BROKER_ASSIGN_OR_RETURN(const auto written, LoadNumber(kFences));
  BROKER_RETURN_IF_ERROR(CheckCount(past.fences.size(), written));
  count_ = stored_count_ = past.fences.size();
  BROKER_ASSIGN_OR_RETURN(const auto reserved, LoadNumber(kReservedEpoch));
  uint64_t used = reserved.value_or(0);
  if (!past.fences.empty()) used = std::max(used, past.fences.back()->epoch);
  past.first_epoch = std::max(none.first_epoch, used + 1);
  BROKER_ASSIGN_OR_RETURN(const auto oldest, LoadNumber(kOldestEpoch));
  past.oldest_epoch = oldest.value_or(past.first_epoch);
  reserved_ = past.first_epoch + kReserve;
  BROKER_RETURN_IF_ERROR(Begin());
  BROKER_RETURN_IF_ERROR(Raise(kReservedEpoch, reserved_));
  BROKER_RETURN_IF_ERROR(RaiseOldestEpoch(past.oldest_epoch));
  BROKER_RETURN_IF_ERROR(Commit());
  return past;
}

absl::StatusOr<std::vector<FencePtr>> FenceTable::LoadFences(
    const Clock& clock) {
  std::vector<FencePtr> fences;
  BROKER_ASSIGN_OR_RETURN(Statement select, Statement::Prepare(db_, kSelect));
  for (;;) {
    BROKER_ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return fences;
    const FenceRow row = FenceRow::Read(select);
    if (select.Text(11) != row.Seal()) {
      return absl::DataLossError(absl::StrCat(
          "the fence with epoch ", row.epoch, " is not as it was written"));
    }
    absl::StatusOr<FencePtr> fence = row.ToFence(clock);
    if (!fence.ok()) {
      return absl::DataLossError(
          absl::StrCat("the fence with epoch ", row.epoch,
                       " cannot be read: ", fence.status().message()));
    }
    fences.push_back(*std::move(fence));
  }
}

absl::StatusOr<std::optional<uint64_t>> FenceTable::LoadNumber(
    const char* number) {
  BROKER_ASSIGN_OR_RETURN(Statement select, Statement::Prepare(db_, kNumber));
  select.BindText(0, absl::string_view(number));
  BROKER_ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) return std::nullopt;
  const auto value = static_cast<uint64_t>(select.Number(0));
  if (select.Text(1) == SealOfNumber(number, value)) return value;
  return absl::DataLossError(
      absl::StrCat("the number ", number, " is not as it was written"));
}

// ---- changing -------------------------------------------------------------

absl::Status FenceTable::Commit() {
  if (count_ != stored_count_) {
    BROKER_RETURN_IF_ERROR(WriteNumber(set_, kFences, count_));
  }
  BROKER_RETURN_IF_ERROR(db_.Run("COMMIT"));
  stored_count_ = count_;
  return absl::OkStatus();
}

void FenceTable::Rollback() {
  (void)db_.Run("ROLLBACK");
  count_ = stored_count_;
  reserved_ = 0;  // perhaps not in the file: the next fence sees to it
}

absl::Status FenceTable::Insert(const Fence& fence) {
  if (fence.epoch + kReserve / 2 > reserved_) {
    reserved_ = fence.epoch + kReserve;
    BROKER_RETURN_IF_ERROR(Raise(kReservedEpoch, reserved_));
  }
  const FenceRow row = FenceRow::Of(fence);
  const std::string seal = row.Seal();
  insert_.Bind(0, row.epoch);
  insert_.BindText(1, row.id);
  insert_.BindText(2, row.kind);
  insert_.BindText(3, row.key);
  insert_.BindText(4, row.keep_token_hash);
  insert_.BindText(5, row.namespaces);
  insert_.BindBlob(6, row.filter);
  insert_.BindBlob(7, row.within);
  insert_.Bind(8, row.created);
  insert_.Bind(9, row.blocks_until);
  insert_.Bind(10, row.forgotten_at);
  insert_.BindBlob(11, absl::string_view(seal));
  BROKER_RETURN_IF_ERROR(insert_.Run());
  ++count_;
  return absl::OkStatus();
}

absl::Status FenceTable::Delete(const Fence& fence) {
  remove_.Bind(0, static_cast<int64_t>(fence.epoch));
  BROKER_RETURN_IF_ERROR(remove_.Run());
  // None, when it could not be written.
  count_ -= static_cast<uint64_t>(sqlite3_changes(db_.handle()));
  return absl::OkStatus();
}

absl::Status FenceTable::RaiseOldestEpoch(uint64_t epoch) {
  return Raise(kOldestEpoch, epoch);
}

absl::Status FenceTable::Raise(const char* number, uint64_t value) {
  return WriteNumber(raise_, number, value);
}

}  // namespace broker
