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

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "broker/core/ids.h"

namespace broker {

// How a connection proved who it is.
enum class Credential : uint8_t { kSession, kToken, kDaemon };

// An identity that is being put together or changed. One credential at most:
// never both `token_hash` and `api_token_id`. Within identity_limits.h.
struct IdentityFields {
  std::string account_id;
  std::optional<std::string> token_hash;
  std::optional<std::string> api_token_id;
  std::vector<std::pair<std::string, std::string>> labels;  // sorted by key
  std::vector<std::string> groups;  // sorted, no repeats
  std::optional<absl::Time> expires_at;
};

class Identity;
using IdentityPtr = std::shared_ptr<const Identity>;

// An identity as connections have it, for as long as they live: all texts in
// one piece of memory, the labels first, because filters look at those.
class Identity {
 public:
  static IdentityPtr Make(const IdentityFields& fields);

  Identity(const Identity&) = delete;
  Identity& operator=(const Identity&) = delete;
  static void operator delete(void* identity) { ::operator delete(identity); }

  absl::string_view account_id() const { return text(keys()); }
  std::optional<absl::string_view> token_hash() const {
    return KeyOf(Credential::kSession);
  }
  std::optional<absl::string_view> api_token_id() const {
    return KeyOf(Credential::kToken);
  }
  Credential credential() const { return credential_; }
  std::optional<absl::Time> expires_at() const {
    if (expires_at_ == absl::InfiniteFuture()) return std::nullopt;
    return expires_at_;
  }

  // In the order of their keys.
  size_t label_count() const { return label_count_; }
  absl::string_view label_key(size_t i) const { return text(2 * i); }
  absl::string_view label_value(size_t i) const { return text(2 * i + 1); }
  // Unset: there is none with this key.
  std::optional<absl::string_view> FindLabel(absl::string_view key) const {
    for (size_t i = 0; i < label_count_; ++i) {
      if (label_key(i) == key) return label_value(i);
    }
    return std::nullopt;
  }

  // In their order.
  size_t group_count() const { return group_count_; }
  absl::string_view group(size_t i) const {
    return text(size_t{2} * label_count_ + i);
  }
  // The first group that does not sort before the text.
  size_t FindGroupFrom(absl::string_view from) const;

  IdentityFields fields() const;
  friend bool operator==(const Identity& a, const Identity& b);

 private:
  explicit Identity(const IdentityFields& fields);

  // The texts: of each label key and value, the groups, the account and the
  // credential, which may be empty for want of one. Where each ends follows the
  // object in memory, then all their bytes.
  static std::vector<absl::string_view> TextsOf(const IdentityFields& fields);
  size_t keys() const { return size_t{2} * label_count_ + group_count_; }
  size_t text_count() const { return keys() + 2; }
  const uint16_t* ends() const {
    return reinterpret_cast<const uint16_t*>(this + 1);
  }
  const char* bytes() const {
    return reinterpret_cast<const char*>(ends() + text_count());
  }
  absl::string_view text(size_t i) const {
    const size_t begin = i == 0 ? 0 : ends()[i - 1];
    return {bytes() + begin, ends()[i] - begin};
  }
  std::optional<absl::string_view> KeyOf(Credential credential) const {
    if (credential_ != credential) return std::nullopt;
    return text(keys() + 1);
  }

  const absl::Time expires_at_;  // the infinite future: never
  const Credential credential_;
  const uint8_t label_count_;
  const uint8_t group_count_;
};

enum class ConnectionState : uint8_t { kPending, kAdmitted, kClosing };

// `identity` is null until the connection is bound.
struct ConnectionInfo {
  ConnectionId id;
  IdentityPtr identity;
  ConnectionState state = ConnectionState::kPending;
  uint16_t remote_port = 0;
  std::optional<uint16_t> close_code;  // set when the broker closes it
  std::string ns;                      // the namespace
  std::string endpoint;                // the configured path
  std::string remote_address;
  std::string origin;
  std::string query;  // without any ticket
  absl::Time connect_time;
  std::optional<absl::Time> admit_time;
  uint64_t version = 0;  // of the identity; 0 until bound
  uint64_t epoch = 0;    // at which the handshake arrived
};

using ConnectionInfoPtr = std::shared_ptr<const ConnectionInfo>;

}  // namespace broker
