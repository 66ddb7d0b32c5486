// FenceRow: how a fence is a row of the journal.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "broker/core/clock.h"
#include "broker/journal/database.h"
#include "broker/registry/fence.h"

namespace broker {

// A row, in the order of its columns, but for the seal.
struct FenceRow {
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

  static FenceRow Of(const Fence& fence);
  // The row that the statement, SELECT *, is at.
  static FenceRow Read(const Statement& statement);
  absl::StatusOr<FencePtr> ToFence(const Clock& clock) const;
  // Over all of it.
  std::string Seal() const;
};

// What SQLite does not notice: a bit that flipped within a value.
std::string SealOf(absl::string_view values);

}  // namespace broker
