// Identity: what a service asserted about a connection, and ConnectionInfo: all
// that is known of one. Both are immutable once shared; a change makes a new
// one. Field for field as in protos/socketbroker/v1/connection.proto.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "broker/core/ids.h"

namespace broker {

// How a connection proved who it is.
enum class Credential { kSession, kToken, kDaemon };

// One credential at most: never both `token_hash` and `api_token_id`.
struct Identity {
  std::string account_id;
  std::optional<std::string> token_hash;
  std::optional<std::string> api_token_id;
  std::vector<std::pair<std::string, std::string>> labels;  // sorted by key
  std::vector<std::string> groups;  // sorted, no repeats
  std::optional<absl::Time> expires_at;

  Credential credential() const {
    return token_hash     ? Credential::kSession
           : api_token_id ? Credential::kToken
                          : Credential::kDaemon;
  }
  friend bool operator==(const Identity&, const Identity&) = default;
};

enum class ConnectionState : uint8_t { kPending, kAdmitted, kClosing };

// `identity` is null until the connection is bound.
struct ConnectionInfo {
  ConnectionId id;
  std::string ns;  // the namespace
  ConnectionState state = ConnectionState::kPending;
  std::shared_ptr<const Identity> identity;
  std::string endpoint;  // the configured path
  std::string remote_address;
  uint16_t remote_port = 0;
  std::string origin;
  std::string query;  // without any ticket
  absl::Time connect_time;
  std::optional<absl::Time> admit_time;
  uint64_t version = 0;                // of the identity; 0 until bound
  uint64_t epoch = 0;                  // at which the handshake arrived
  std::optional<uint16_t> close_code;  // set when the broker closes it
};

using ConnectionInfoPtr = std::shared_ptr<const ConnectionInfo>;

}  // namespace broker
