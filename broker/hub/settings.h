// Settings: what the configuration says of endpoints and limits. Immutable: a
// reload makes a new one, which the shards take over between two tasks.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "broker/core/ip_network.h"

namespace broker {

// What max_message_bytes may be at most: with what else a request has beside
// its message, a filter of 64 KiB and ids to exclude, it fits gRPC's usual 4
// MiB.
inline constexpr uint64_t kMaxMessageBytes = 3 << 20;

// How the messages of an endpoint are read: one JSON-RPC 2.0 object each, or
// not at all.
enum class Framing { kJsonRpc, kRaw };

// Whether a client's messages go on while one of its requests is open.
enum class MessageOrder { kConcurrent, kStrict };

// A path that clients connect to. All endpoints of a namespace have the same
// framing.
struct EndpointSettings {
  std::string path = "/ws";
  std::string ns = "default";
  Framing framing = Framing::kJsonRpc;
  // The ways to a bound connection: by ticket, pending until AddConnection, or
  // by asking the hub's callout.
  bool allow_ticket = true;
  bool allow_pending = false;
  // Without a ticket the callout decides; it goes before allow_pending.
  bool allow_callout = false;
  // Pending, and offered to an attached service; there must be one, unless
  // allow_pending.
  bool allow_attach = false;
  // Compared whole with the Origin header; "*" allows any. Empty: a loopback
  // one when the listener is on loopback.
  std::vector<std::string> allowed_origins;
  bool allow_missing_origin = true;
  uint64_t max_message_bytes = 1 << 20;
  // At least twice max_message_bytes.
  uint64_t max_outbox_bytes = 4 << 20;
  // What an outbox may hold for soft_outbox_time without a break.
  uint64_t soft_outbox_bytes = 1 << 20;
  std::chrono::milliseconds soft_outbox_time{10'000};
  std::chrono::milliseconds pending_timeout{10'000};
  // What one client may send in a second; 0: no limit.
  uint64_t max_messages_per_second = 0;
  uint64_t max_bytes_per_second = 0;
  // How long one service may take to answer an offer.
  std::chrono::milliseconds offer_timeout{5'000};
  // Requests that one client may have open with services.
  uint64_t max_requests_in_flight = 64;
  std::chrono::milliseconds request_timeout{60'000};
  MessageOrder message_order = MessageOrder::kConcurrent;
  // The notification that cancels a request, in both directions. Empty: there
  // is none.
  std::string cancel_method = "cancel";
};

// What happens when an account that has as many connections as it may gets
// another one.
enum class AccountPolicy { kRefuse, kEvictOldest };

// 0 means: no limit of its own.
struct Limits {
  uint64_t max_connections = 10'000;  // sockets in all
  uint64_t max_connections_per_address = 0;
  uint64_t max_connections_per_account = 0;  // admitted, in one namespace
  AccountPolicy account_policy = AccountPolicy::kRefuse;
  uint64_t max_connections_per_namespace = 0;  // pending ones, too
  uint64_t max_pending_connections = 1'000;
  uint64_t max_ticket_misses_per_minute = 600;  // of one client address
  uint64_t max_header_bytes = 16'000;
  std::chrono::milliseconds handshake_timeout{5'000};
  std::chrono::milliseconds ping_interval{25'000};
  std::chrono::milliseconds pong_timeout{10'000};
  uint32_t max_pings_per_second = 10;
  // From the first byte of a message to its last.
  std::chrono::milliseconds message_timeout{50'000};
  uint64_t max_memory_bytes = 0;  // resident, of the process
  // Requests that all clients may have open with services.
  uint64_t max_requests_in_flight = 100'000;
  // What may wait for one service without credit.
  uint64_t max_waiting_messages = 1'000;
  uint64_t max_waiting_bytes = 16 << 20;
};

struct Settings {
  std::vector<EndpointSettings> endpoints;
  Limits limits;
  // How long a fence by key is remembered, at least.
  absl::Duration revocation_retention = absl::Hours(24);
  bool loopback_listener = true;
  // Whose X-Forwarded-For says where a client connects from.
  std::vector<IpNetwork> trusted_proxies;

  const EndpointSettings* FindEndpoint(absl::string_view path) const;
  // Any endpoint of the namespace: they agree on the framing. Null: there is no
  // such namespace.
  const EndpointSettings* FindNamespace(absl::string_view ns) const;
  // The most that a message to or from the namespace may have.
  uint64_t MaxMessageBytes(absl::string_view ns) const;
  // In the order of the endpoints, each once.
  std::vector<std::string> Namespaces() const;
};

using SettingsPtr = std::shared_ptr<const Settings>;

}  // namespace broker
