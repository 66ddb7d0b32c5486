// Reading the fields that many requests share, with errors that name the field,
// the value and what is allowed. Thread-safe: pure functions.

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "broker/core/ids.h"
#include "broker/core/quoted.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/filter/compiler.h"
#include "broker/filter/text_parser.h"
#include "broker/hub/commands.h"
#include "broker/hub/settings.h"
#include "broker/rpc/callers.h"
#include "broker/rpc/identity.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "socketbroker/v1/connection.pb.h"

namespace broker {

absl::StatusOr<ConnectionId> ReadUuid(absl::string_view field,
                                      absl::string_view text);
absl::StatusOr<ConnectionIdSet> ReadExcluded(
    const google::protobuf::RepeatedPtrField<std::string>& ids);

// What an exclude_filter leaves over. Unset: null.
absl::StatusOr<PredicatePtr> ReadExcludeFilter(bool present,
                                               absl::string_view text);

// INVALID_ARGUMENT for a namespace that no endpoint has.
absl::Status CheckNamespace(absl::string_view ns, const Settings& settings);

// A duration above zero, at most `most`. Unset: nothing.
absl::StatusOr<std::optional<absl::Duration>> ReadDuration(
    absl::string_view field, bool present,
    const google::protobuf::Duration& duration, absl::Duration most);

absl::StatusOr<States> ReadStates(
    const google::protobuf::RepeatedField<int>& states);

// 1 to 1,000: more is taken as that, 0 as 100. Less: INVALID_ARGUMENT.
absl::StatusOr<size_t> ReadPageSize(int page_size);

// The namespace of a request, "default" when unset. PERMISSION_DENIED out of
// the caller's reach.
template <typename Request>
absl::StatusOr<std::string> ReadNamespace(const Request& request,
                                          const Caller& caller,
                                          const Settings& settings) {
  const std::string ns =
      request.has_namespace_() ? request.namespace_() : "default";
  BROKER_RETURN_IF_ERROR(caller.CheckNamespace("namespace", ns));
  BROKER_RETURN_IF_ERROR(CheckNamespace(ns, settings));
  return ns;
}

// The namespaces that a request is about: its own; those that the caller
// reaches when it has none. Empty: every one.
template <typename Request>
absl::StatusOr<std::vector<std::string>> ReadNamespaces(
    const Request& request, const Caller& caller, const Settings& settings) {
  if (!request.has_namespace_()) return caller.namespaces();
  BROKER_ASSIGN_OR_RETURN(std::string ns,
                          ReadNamespace(request, caller, settings));
  return std::vector<std::string>{std::move(ns)};
}

// The selector of a request. Unset: INVALID_ARGUMENT, or null where everything
// is meant then.
template <typename Request>
absl::StatusOr<PredicatePtr> ReadOptionalSelector(const Request& request) {
  switch (request.selector_case()) {
    case Request::kFilterExpr:
      return CompileFilter(request.filter_expr(), "filter_expr");
    case Request::kFilter: {
      BROKER_ASSIGN_OR_RETURN(const auto tree, ParseFilter(request.filter()));
      return CompileFilter(tree, "filter");
    }
    case Request::kMatchAll:
      if (!request.match_all()) {
        return InvalidField("match_all",
                            "is false: set it to true to mean everybody, or "
                            "give filter or filter_expr");
      }
      return Predicate::All();
    case Request::SELECTOR_NOT_SET:
      break;
  }
  return PredicatePtr();
}

template <typename Request>
absl::StatusOr<PredicatePtr> ReadSelector(const Request& request) {
  BROKER_ASSIGN_OR_RETURN(PredicatePtr predicate,
                          ReadOptionalSelector(request));
  if (predicate == nullptr) {
    return InvalidField("selector",
                        "is missing: give filter, filter_expr, or match_all to "
                        "mean everybody");
  }
  return predicate;
}

template <typename Request>
absl::StatusOr<PredicatePtr> ReadSelectorOrAll(const Request& request) {
  BROKER_ASSIGN_OR_RETURN(PredicatePtr predicate,
                          ReadOptionalSelector(request));
  return predicate == nullptr ? Predicate::All() : predicate;
}

}  // namespace broker
