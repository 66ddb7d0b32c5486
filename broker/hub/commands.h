// What the hub can be told to do, and what it answers. Validated already: the
// shards check only what they alone know.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "broker/core/identity.h"
#include "broker/filter/predicate.h"
#include "broker/registry/fence.h"
#include "broker/registry/reach.h"
#include "broker/registry/registry.h"
#include "broker/session/frame.h"

namespace broker {

// How an asynchronous command answers: exactly once, on any thread.
template <typename T>
using Done = absl::AnyInvocable<void(absl::StatusOr<T>)>;

using ConnectionIdSet = absl::flat_hash_set<ConnectionId>;

struct BindCommand {
  ConnectionId id;
  IdentityPtr identity;
  bool hold = false;
  std::optional<uint64_t> verified_at_epoch;  // unset: of the handshake
  ReachPtr within;                            // of who asks
};

// Which fields to replace, and with what.
struct UpdateCommand {
  ConnectionId id;
  std::optional<std::vector<std::pair<std::string, std::string>>> labels;
  std::optional<std::vector<std::string>> groups;
  std::optional<std::optional<absl::Time>> expires_at;  // inner unset: never
  std::optional<uint64_t> expected_version;
  ReachPtr within;  // of who asks, before the update and after it
};

struct BulkUpdateCommand {
  std::string ns;
  PredicatePtr predicate;
  std::vector<std::string> add_groups;
  std::vector<std::string> remove_groups;
  std::vector<std::pair<std::string, std::string>> set_labels;
  std::vector<std::string> unset_labels;
  PredicatePtr within;  // null, or what a connection must match afterwards, too
};

struct BulkUpdateResult {
  uint64_t matched = 0;
  uint64_t updated = 0;
  uint64_t over_limit = 0;
  uint64_t out_of_reach = 0;
};

struct RevokeCommand {
  RevocationTarget target;
  bool fence = true;  // always for keys
  std::optional<absl::Duration> block_for;
  absl::Duration drain_for;
  ConnectionIdSet exclude;
  std::optional<uint64_t> max_connections;
  bool validate_only = false;
};

struct RevokeResult {
  uint64_t closed = 0;
  uint64_t epoch = 0;
  std::optional<Uuid> revocation_id;
};

struct SendCommand {
  std::string ns;
  // To an account, or to everybody; of them, to what matches. Null, for an
  // account: to all of it.
  std::optional<std::string> account_id;
  PredicatePtr predicate;
  FramePtr frame;
  ConnectionIdSet exclude;
  bool include_outcomes = false;
};

// For a frame with a tracker: what was queued is in another number, too.
struct SendTally {
  static constexpr uint64_t kMaxOutcomes = 10'000;

  uint64_t matched = 0;
  uint64_t queued = 0;
  uint64_t dropped_slow = 0;
  uint64_t written = 0;
  uint64_t expired = 0;
  uint64_t gone = 0;
  std::vector<std::pair<ConnectionId, SendOutcome>> outcomes;
};

struct ListCommand {
  std::string ns;
  PredicatePtr predicate;
  States states = States::All();
  ConnectionId after;  // nil: from the start
  size_t limit = 0;
};

// A connection and what its outbox holds.
struct ConnectionDetails {
  ConnectionInfoPtr info;
  uint64_t outbox_bytes = 0;
  uint64_t outbox_bytes_peak = 0;
};

// What a service replies to a client's request.
struct ServiceReply {
  uint64_t message_id = 0;
  bool is_error = false;
  std::string json;     // the result, or the error object
  uint64_t report = 0;  // 0: none is wanted
  bool unfit = false;   // it is none; the client gets an error in its place
};

// A JSON-RPC request for clients.
struct AskCommand {
  std::string method;
  std::string params_json;  // empty: none
  absl::Duration timeout = absl::Seconds(10);
};

// The same for all that match.
struct AskFilteredCommand {
  static constexpr uint64_t kMaxAsked = 10'000;

  std::string ns;
  PredicatePtr predicate;
  ConnectionIdSet exclude;
  AskCommand ask;
  uint64_t max_results = 0;  // then the others are given up; 0: never
};

// What came of it at one client.
struct AskOutcome {
  enum class Kind {
    kResult,
    kError,  // the client's
    kTimeout,
    kGone,
    kTooManyInFlight,
    kDroppedSlow,
    kCancelled
  };
  Kind kind = Kind::kGone;
  std::string json;  // the result, or the error object, as the client wrote it
};

// What waits for a client.
struct OutboxSize {
  ConnectionId id;
  uint64_t bytes = 0;
};

}  // namespace broker
