// Callout: asks the user's application who a client is, while the client's
// handshake waits. A port: tests/fakes has one in memory.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "broker/core/identity.h"
#include "broker/hub/handshake.h"

namespace broker {

struct CalloutAnswer {
  int http_status = 101;  // else a refusal, 4xx or 5xx
  std::string body;       // of a refusal: one line of text
  IdentityPtr identity;   // with 101
};

class Callout {
 public:
  virtual ~Callout() = default;

  // Asks about a handshake that arrived at `epoch`, and calls `done` once, on
  // any thread and maybe at once, or drops it: the handshake then ends with its
  // timeout. The facts are there until then. Called on a shard's thread: must
  // not block.
  virtual void Authenticate(const HandshakeFacts& facts,
                            const EndpointSettings& endpoint, uint64_t epoch,
                            absl::AnyInvocable<void(CalloutAnswer)> done) = 0;
};

}  // namespace broker
