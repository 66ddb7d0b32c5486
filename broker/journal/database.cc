#include "broker/journal/database.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "broker/core/status_macros.h"

namespace broker {
namespace {

// The last error of the database.
absl::Status Error(sqlite3* db) {
  std::string text = sqlite3_errmsg(db);
  switch (sqlite3_errcode(db) & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::FailedPreconditionError("another process uses it");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:  // the length of what was read: nothing here is long
    case SQLITE_ERROR:   // of the statement: a table that is not there
      return absl::DataLossError(text);
    default:
      break;
  }
  const int why = sqlite3_system_errno(db);
  if (why != 0) absl::StrAppend(&text, ": ", std::strerror(why));
  return absl::UnavailableError(text);
}

}  // namespace

absl::StatusOr<Database> Database::Open(const std::string& file) {
  // SQLite would make it readable for everybody.
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return absl::UnavailableError(std::strerror(errno));
  close(fd);
  sqlite3* handle = nullptr;
  const int result =
      sqlite3_open_v2(file.c_str(), &handle,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  Database db(handle);
  if (result != SQLITE_OK) return Error(handle);
  sqlite3_extended_result_codes(handle, 1);
  // With exclusive locking there is no shared memory beside the file, and no
  // second daemon on it.
  BROKER_RETURN_IF_ERROR(
      db.Run("PRAGMA locking_mode = EXCLUSIVE;"
             "PRAGMA auto_vacuum = INCREMENTAL;"
             "PRAGMA journal_mode = WAL;"
             "PRAGMA synchronous = FULL;"
             "PRAGMA trusted_schema = OFF;"
             "PRAGMA cell_size_check = ON;"
             "BEGIN IMMEDIATE; COMMIT"));
  return db;
}

absl::Status Database::Run(const char* sql) {
  return sqlite3_exec(handle(), sql, nullptr, nullptr, nullptr) == SQLITE_OK
             ? absl::OkStatus()
             : Error(handle());
}

absl::StatusOr<int64_t> Database::Number(const char* sql) {
  BROKER_ASSIGN_OR_RETURN(Statement statement, Statement::Prepare(*this, sql));
  BROKER_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (!row) return absl::DataLossError(absl::StrCat("no answer to ", sql));
  return statement.Number(0);
}

absl::StatusOr<Statement> Statement::Prepare(Database& db, const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db.handle(), sql, -1, &statement, nullptr) !=
      SQLITE_OK) {
    return Error(db.handle());
  }
  return Statement(statement);
}

void Statement::Bind(int parameter, int64_t value) {
  sqlite3_bind_int64(statement_.get(), parameter + 1, value);
}

void Statement::BindText(int parameter, absl::string_view text) {
  sqlite3_bind_text64(statement_.get(), parameter + 1, text.data(), text.size(),
                      SQLITE_STATIC, SQLITE_UTF8);
}

void Statement::BindText(int parameter,
                         const std::optional<std::string>& text) {
  if (text) return BindText(parameter, absl::string_view(*text));
  sqlite3_bind_null(statement_.get(), parameter + 1);
}

void Statement::BindBlob(int parameter, absl::string_view bytes) {
  sqlite3_bind_blob64(statement_.get(), parameter + 1, bytes.data(),
                      bytes.size(), SQLITE_STATIC);
}

void Statement::BindBlob(int parameter,
                         const std::optional<std::string>& bytes) {
  if (bytes) return BindBlob(parameter, absl::string_view(*bytes));
  sqlite3_bind_null(statement_.get(), parameter + 1);
}

absl::StatusOr<bool> Statement::Step() {
  const int result = sqlite3_step(statement_.get());
  if (result == SQLITE_ROW) return true;
  absl::Status failed;
  if (result != SQLITE_DONE)
    failed = Error(sqlite3_db_handle(statement_.get()));
  sqlite3_reset(statement_.get());
  if (!failed.ok()) return failed;
  return false;
}

absl::Status Statement::Run() { return Step().status(); }

int64_t Statement::Number(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::optional<std::string> Statement::Text(int column) const {
  sqlite3_stmt* const s = statement_.get();
  if (sqlite3_column_type(s, column) == SQLITE_NULL) return std::nullopt;
  const void* const data = sqlite3_column_blob(s, column);
  const int size = sqlite3_column_bytes(s, column);
  return std::string(static_cast<const char*>(data), static_cast<size_t>(size));
}

}  // namespace broker
