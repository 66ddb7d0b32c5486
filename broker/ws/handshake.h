// Upgrade requests: the head of one as a client sent it, and the answers that
// are not 101. All that RFC 6455 section 4.2.1 demands is checked here, before
// the shard decides and before websocketpp sees a byte.
//
// Pure functions; thread-safe.

#pragma once

#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "broker/hub/handshake.h"

namespace broker {

// The one subprotocol that the broker speaks.
inline constexpr absl::string_view kSubprotocol = "socketbroker.v1";

// An answer that ends the connection.
struct Refusal {
  int status = 400;
  std::string body;  // one line
  int retry_after_seconds = 0;
};

// A proper upgrade request. The facts lack what the socket knows: the address
// and the overload.
struct Upgrade {
  HandshakeFacts facts;
  std::string key;           // Sec-WebSocket-Key
  bool subprotocol = false;  // the client offers kSubprotocol
  // The elements of X-Forwarded-For.
  std::vector<std::string> forwarded_for;
};

// How many bytes of `data` are the head, the empty line included; npos: its end
// has not come yet. The bytes before `seen` were searched already.
size_t FindHeadEnd(absl::string_view data, size_t seen);

// Reads a whole head.
std::variant<Upgrade, Refusal> ReadHead(absl::string_view head);

// The answer as it goes on the wire.
std::string Encode(const Refusal& refusal);

}  // namespace broker
