#include "broker/journal/fence_row.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

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

// The kinds by their names in the table.
constexpr std::pair<Kind, absl::string_view> kKinds[] = {
    {Kind::kSession, "session"},
    {Kind::kAccount, "account"},
    {Kind::kToken, "token"},
    {Kind::kFilter, "filter"}};

std::string WriteFilter(const Predicate& predicate) {
  return predicate.expr().SerializeAsString();
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

absl::StatusOr<RevocationTarget> ReadTarget(const FenceRow& row) {
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

}  // namespace

std::string SealOf(absl::string_view values) {
  const Sha256Digest digest = Sha256(values);
  return std::string(digest.begin(), digest.begin() + 8);
}

std::string FenceRow::Seal() const {
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

FenceRow FenceRow::Of(const Fence& fence) {
  FenceRow row;
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

FenceRow FenceRow::Read(const Statement& s) {
  FenceRow row;
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

absl::StatusOr<FencePtr> FenceRow::ToFence(const Clock& clock) const {
  const Now now{clock.Now(), clock.Monotonic()};
  auto fence = std::make_shared<Fence>();
  fence->epoch = static_cast<uint64_t>(epoch);
  BROKER_ASSIGN_OR_RETURN(fence->id, Uuid::Parse(id.value_or("")));
  BROKER_ASSIGN_OR_RETURN(fence->target, ReadTarget(*this));
  fence->create_time = absl::FromUnixMicros(created);
  fence->forget_at_wall = absl::FromUnixMicros(forgotten_at);
  fence->forget_at = now.At(fence->forget_at_wall, fence->create_time);
  if (blocks_until != 0) {
    fence->block_until_wall = absl::FromUnixMicros(blocks_until);
    fence->blocks_until = now.At(*fence->block_until_wall, fence->create_time);
  }
  return fence;
}

}  // namespace broker
