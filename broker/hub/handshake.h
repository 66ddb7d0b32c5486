// What a handshake says and what the broker answers: the part of it that is
// policy. The mechanics (parsing, the 101) are broker/ws's.

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "broker/core/identity.h"
#include "broker/hub/account_places.h"
#include "broker/hub/caps.h"
#include "broker/hub/settings.h"

namespace broker {

// Facts from the request head, after broker/ws has found it to be a proper
// WebSocket upgrade.
struct HandshakeFacts {
  std::string path;
  std::string query;  // without the ticket
  std::optional<std::string> origin;
  std::optional<std::string> ticket;
  // All of them but Sec-WebSocket-Protocol, which may carry a ticket. With the
  // subprotocols, these are for who judges the credential, and for nobody else.
  std::vector<std::pair<std::string, std::string>> headers;
  std::vector<std::string> subprotocols;  // offered, no ticket among them
  std::string remote_address;
  uint16_t remote_port = 0;
  bool tls = false;
  // Of the socket's lease: see Caps::OpenSocket.
  SocketOverload overload = SocketOverload::kNone;
};

// An accepted handshake on its way from validate to open. Dropping it gives
// back what it reserved.
struct Handshake {
  SettingsPtr settings;
  const EndpointSettings* endpoint = nullptr;  // within settings
  HandshakeFacts facts;
  IdentityPtr identity;  // null: it will be pending
  uint64_t arrival_epoch = 0;
  uint64_t verified_at_epoch = 0;  // of the ticket; else arrival_epoch
  NamespaceLease ns;
  AccountLease account;  // when there is an identity
  PendingLease pending;  // when there is none
};

struct HandshakeAnswer {
  bool later = false;           // somebody is asked first: see HandshakeReply
  int http_status = 101;        // 401, 403, 404, 429, 503, or the callout's
  std::string body;             // one line of text, for any status but 101
  int retry_after_seconds = 0;  // 0: no such header
  std::unique_ptr<Handshake> handshake;  // with 101
};

// Gets the answer that was not there at once: at most once, on the shard's
// thread, and never from within CheckHandshake.
using HandshakeReply = absl::AnyInvocable<void(HandshakeAnswer)>;

}  // namespace broker
