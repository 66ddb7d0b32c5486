// Database and Statement: SQLite, with a Status for every error: DATA_LOSS when
// what is in the file is wrong, FAILED_PRECONDITION when another process has it
// open, else UNAVAILABLE.
//
// Confined to one thread at a time.

#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace broker {

class Database {
 public:
  // Makes the file when there is none, readable for its owner alone. It is
  // locked for as long as the object lives.
  static absl::StatusOr<Database> Open(const std::string& file);

  // Runs statements that take and return nothing.
  absl::Status Run(const char* sql);
  // The one number that a query returns, such as a PRAGMA.
  absl::StatusOr<int64_t> Number(const char* sql);
  sqlite3* handle() const { return db_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
  };
  explicit Database(sqlite3* db) : db_(db) {}

  std::unique_ptr<sqlite3, Close> db_;
};

// A prepared statement. Parameters and columns are counted from 0. Text is
// bound as it is, and must live until the step.
class Statement {
 public:
  static absl::StatusOr<Statement> Prepare(Database& db, const char* sql);

  void Bind(int parameter, int64_t value);
  void BindText(int parameter, absl::string_view text);
  void BindText(int parameter, const std::optional<std::string>& text);
  void BindBlob(int parameter, absl::string_view bytes);
  void BindBlob(int parameter, const std::optional<std::string>& bytes);

  // Whether there is a row; after the last one the statement can be bound anew.
  absl::StatusOr<bool> Step();
  // For what returns no rows.
  absl::Status Run();

  int64_t Number(int column) const;
  std::optional<std::string> Text(int column) const;  // nullopt: NULL

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
  };
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

}  // namespace broker
