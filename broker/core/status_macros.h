// Early return on error, and nothing else.

#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns the status of `expr` from the enclosing function when it is not OK.
#define BROKER_RETURN_IF_ERROR(expr)                                \
  if (::absl::Status broker_status = (expr); !broker_status.ok()) { \
    return broker_status;                                           \
  }                                                                 \
  static_assert(true, "takes the semicolon")

// `lhs` becomes the value of the StatusOr `expr`, or its status is returned.
#define BROKER_ASSIGN_OR_RETURN(lhs, expr) \
  BROKER_ASSIGN_OR_RETURN_1(BROKER_CONCAT(broker_or_, __LINE__), lhs, expr)
#define BROKER_ASSIGN_OR_RETURN_1(tmp, lhs, expr) \
  auto tmp = (expr);                              \
  if (!tmp.ok()) return std::move(tmp).status();  \
  lhs = *std::move(tmp)
#define BROKER_CONCAT(a, b) BROKER_CONCAT_1(a, b)
#define BROKER_CONCAT_1(a, b) a##b
