#include "broker/journal/fence_table.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "broker/core/secret.h"
#include "broker/core/status_macros.h"
#include "broker/filter/compiler.h"
#include "socketbroker/v1/filter.pb.h"

namespace broker {
namespace {

using Kind = RevocationTarget::Kind;
using socketbroker::v1::FilterExpr;

constexpr int64_t kApplicationId = 0x534b4252;  // "SKBR"
constexpr int64_t kVersion = 1;
// Epochs that are reserved at a time: as many as microseconds in a second, so
// that restarts do not run ahead of the clock.
constexpr uint64_t kReserve = 1'000'000;

// Times are Unix microseconds. A seal is over all that is before it.
constexpr char kTables[] = R"(
  BEGIN;
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
  PRAGMA user_version = 1;
  COMMIT)";
constexpr char kInsert[] =
    "INSERT INTO fences VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
constexpr char kSelect[] = "SELECT * FROM fences ORDER BY epoch";
constexpr char kDelete[] = "DELETE FROM fences WHERE epoch = ?";
constexpr char kRaise[] =
    "INSERT INTO numbers VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE "
    "SET value = excluded.value, seal = excluded.seal "
    "WHERE excluded.value > value";
constexpr char kNumber[] = "SELECT value, seal FROM numbers WHERE name = ?";
constexpr char kOldestEpoch[] = "oldest_epoch";
constexpr char kReservedEpoch[] = "reserved_epoch";

// What SQLite does not notice: a bit that flipped within a value.
std::string SealOf(absl::string_view values) {
  const Sha256Digest digest = Sha256(values);
  return std::string(digest.begin(), digest.begin() + 8);
}
std::string SealOf(absl::string_view number, uint64_t value) {
  return SealOf(absl::StrCat(number, " ", value));
}

// The kinds by their names in the table.
constexpr std::pair<Kind, absl::string_view> kKinds[] = {
    {Kind::kSession, "session"},
    {Kind::kAccount, "account"},
    {Kind::kToken, "token"},
    {Kind::kFilter, "filter"}};

// A row, in the order of its columns, but for the seal.
struct Row {
  int64_t epoch = 0;
  std::optional<std::string> id;
  std::optional<std::string> kind;
  std::optional<std::string> key;
  std::optional<std::string> keep_token_hash;
  std::optional<std::string> namespaces;
  std::optional<std::string> filter;
  std::optional<std::string> within;
  int64_t created = 0;
  int64_t blocks_until = 0;  // 0: does not block
  int64_t forgotten_at = 0;

  std::string Seal() const {
    std::string text =
        absl::StrCat(epoch, " ", created, " ", blocks_until, " ", forgotten_at);
    for (const auto* field :
         {&id, &kind, &key, &keep_token_hash, &namespaces, &filter, &within}) {
      if (*field) {
        absl::StrAppend(&text, " ", (*field)->size(), ":", **field);
      } else {
        absl::StrAppend(&text, " -");
      }
    }
    return SealOf(text);
  }
};

std::string WriteFilter(const Predicate& predicate) {
  return predicate.expr().SerializeAsString();
}

Row ToRow(const Fence& fence) {
  Row row;
  row.epoch = static_cast<int64_t>(fence.epoch);
  row.id = fence.id.ToString();
  for (const auto& [kind, name] : kKinds) {
    if (kind == fence.target.kind) row.kind = std::string(name);
  }
  if (fence.target.kind == Kind::kFilter) {
    row.filter = WriteFilter(*fence.target.predicate);
  } else {
    row.key = fence.target.key;
  }
  row.keep_token_hash = fence.target.keep_token_hash;
  if (!fence.target.namespaces.empty()) {
    row.namespaces = absl::StrJoin(fence.target.namespaces, ",");
  }
  if (fence.target.within != nullptr) {
    row.within = WriteFilter(*fence.target.within);
  }
  row.created = absl::ToUnixMicros(fence.create_time);
  if (fence.block_until_wall) {
    row.blocks_until = absl::ToUnixMicros(*fence.block_until_wall);
  }
  row.forgotten_at = absl::ToUnixMicros(fence.forget_at_wall);
  return row;
}

Row ReadRow(const Statement& s) {
  Row row;
  row.epoch = s.Number(0);
  row.id = s.Text(1);
  row.kind = s.Text(2);
  row.key = s.Text(3);
  row.keep_token_hash = s.Text(4);
  row.namespaces = s.Text(5);
  row.filter = s.Text(6);
  row.within = s.Text(7);
  row.created = s.Number(8);
  row.blocks_until = s.Number(9);
  row.forgotten_at = s.Number(10);
  return row;
}

// Matches everything when the expression has no kind: see Predicate::expr.
absl::StatusOr<PredicatePtr> ReadFilter(const std::string& bytes) {
  FilterExpr expr;
  if (!expr.ParseFromString(bytes)) {
    return absl::DataLossError("its filter is no FilterExpr");
  }
  if (expr.ByteSizeLong() == 0) return Predicate::All();
  return CompileFilter(expr);
}

absl::StatusOr<RevocationTarget> ReadTarget(const Row& row) {
  RevocationTarget target;
  const auto kind =
      std::find_if(std::begin(kKinds), std::end(kKinds),
                   [&](const auto& k) { return k.second == row.kind; });
  if (kind == std::end(kKinds)) return absl::DataLossError("no such kind");
  target.kind = kind->first;
  if (target.kind == Kind::kFilter) {
    BROKER_ASSIGN_OR_RETURN(target.predicate,
                            ReadFilter(row.filter.value_or("")));
  } else {
    target.key = row.key.value_or("");
  }
  target.keep_token_hash = row.keep_token_hash;
  if (row.namespaces) {
    target.namespaces = absl::StrSplit(*row.namespaces, ',');
  }
  if (row.within) {
    BROKER_ASSIGN_OR_RETURN(target.within, ReadFilter(*row.within));
  }
  return target;
}

// Both clocks of the moment.
struct Now {
  absl::Time wall;
  MonotonicTime monotonic;

  // Where a time is on the monotonic clock. What was to last from `start` on
  // does not last longer because the wall clock was set back.
  MonotonicTime At(absl::Time time, absl::Time start) const {
    const absl::Duration left = std::min(time - wall, time - start);
    return monotonic +
           std::chrono::milliseconds(absl::ToInt64Milliseconds(left));
  }
};

absl::StatusOr<FencePtr> ReadFence(const Row& row, const Now& now) {
  auto fence = std::make_shared<Fence>();
  fence->epoch = static_cast<uint64_t>(row.epoch);
  BROKER_ASSIGN_OR_RETURN(fence->id, Uuid::Parse(row.id.value_or("")));
  BROKER_ASSIGN_OR_RETURN(fence->target, ReadTarget(row));
  fence->create_time = absl::FromUnixMicros(row.created);
  fence->forget_at_wall = absl::FromUnixMicros(row.forgotten_at);
  fence->forget_at = now.At(fence->forget_at_wall, fence->create_time);
  if (row.blocks_until != 0) {
    fence->block_until_wall = absl::FromUnixMicros(row.blocks_until);
    fence->blocks_until = now.At(*fence->block_until_wall, fence->create_time);
  }
  return fence;
}

}  // namespace

// ---- opening --------------------------------------------------------------

absl::StatusOr<FenceTable> FenceTable::Open(const std::string& file) {
  BROKER_ASSIGN_OR_RETURN(Database db, Database::Open(file));
  BROKER_ASSIGN_OR_RETURN(
      const int64_t tables,
      db.Number("SELECT count(*) + application_id FROM sqlite_schema, "
                "pragma_application_id"));
  if (tables == 0) BROKER_RETURN_IF_ERROR(db.Run(kTables));
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
  // Gives pages back that are no longer used.
  BROKER_RETURN_IF_ERROR(db.Run("PRAGMA incremental_vacuum"));
  return FenceTable(std::move(db), std::move(insert), std::move(remove),
                    std::move(raise));
}

absl::StatusOr<JournalPast> FenceTable::Load(const Clock& clock) {
  const JournalPast none = JournalPast::None(clock);
  JournalPast past;
  BROKER_ASSIGN_OR_RETURN(past.fences, LoadFences(clock));
  BROKER_ASSIGN_OR_RETURN(uint64_t used, LoadNumber(kReservedEpoch));
  if (!past.fences.empty()) used = std::max(used, past.fences.back()->epoch);
  past.first_epoch = std::max(none.first_epoch, used + 1);
  BROKER_ASSIGN_OR_RETURN(past.oldest_epoch, LoadNumber(kOldestEpoch));
  if (past.oldest_epoch == 0) past.oldest_epoch = past.first_epoch;
  reserved_ = past.first_epoch + kReserve;
  BROKER_RETURN_IF_ERROR(Begin());
  BROKER_RETURN_IF_ERROR(Raise(kReservedEpoch, reserved_));
  BROKER_RETURN_IF_ERROR(RaiseOldestEpoch(past.oldest_epoch));
  BROKER_RETURN_IF_ERROR(Commit());
  return past;
}

absl::StatusOr<std::vector<FencePtr>> FenceTable::LoadFences(
    const Clock& clock) {
  const Now now{clock.Now(), clock.Monotonic()};
  std::vector<FencePtr> fences;
  BROKER_ASSIGN_OR_RETURN(Statement select, Statement::Prepare(db_, kSelect));
  for (;;) {
    BROKER_ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return fences;
    const Row row = ReadRow(select);
    if (select.Text(11) != row.Seal()) {
      return absl::DataLossError(absl::StrCat(
          "the fence with epoch ", row.epoch, " is not as it was written"));
    }
    absl::StatusOr<FencePtr> fence = ReadFence(row, now);
    if (!fence.ok()) {
      return absl::DataLossError(
          absl::StrCat("the fence with epoch ", row.epoch,
                       " cannot be read: ", fence.status().message()));
    }
    fences.push_back(*std::move(fence));
  }
}

absl::StatusOr<uint64_t> FenceTable::LoadNumber(const char* number) {
  BROKER_ASSIGN_OR_RETURN(Statement select, Statement::Prepare(db_, kNumber));
  select.BindText(0, absl::string_view(number));
  BROKER_ASSIGN_OR_RETURN(const bool found, select.Step());
  if (!found) return 0;
  const auto value = static_cast<uint64_t>(select.Number(0));
  if (select.Text(1) == SealOf(number, value)) return value;
  return absl::DataLossError(
      absl::StrCat("the number ", number, " is not as it was written"));
}

// ---- changing -------------------------------------------------------------

void FenceTable::Rollback() {
  (void)db_.Run("ROLLBACK");
  reserved_ = 0;  // perhaps not in the file: the next fence sees to it
}

absl::Status FenceTable::Insert(const Fence& fence) {
  if (fence.epoch + kReserve / 2 > reserved_) {
    reserved_ = fence.epoch + kReserve;
    BROKER_RETURN_IF_ERROR(Raise(kReservedEpoch, reserved_));
  }
  const Row row = ToRow(fence);
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
  return insert_.Run();
}

absl::Status FenceTable::Delete(const Fence& fence) {
  remove_.Bind(0, static_cast<int64_t>(fence.epoch));
  return remove_.Run();
}

absl::Status FenceTable::RaiseOldestEpoch(uint64_t epoch) {
  return Raise(kOldestEpoch, epoch);
}

absl::Status FenceTable::Raise(const char* number, uint64_t value) {
  const std::string seal = SealOf(number, value);
  raise_.BindText(0, absl::string_view(number));
  raise_.Bind(1, static_cast<int64_t>(value));
  raise_.BindBlob(2, absl::string_view(seal));
  return raise_.Run();
}

}  // namespace broker
