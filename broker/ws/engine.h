// Engine: websocketpp for one connection. It writes the 101, parses frames, and
// makes pongs and close frames; see websocketpp_config.h.
//
// Of websocketpp it has the processor and not the connection around it: that
// takes 2.3 KiB, most of it for handlers, queues and heads, and copies what it
// reads. What else the connection would do is done here: answer pings and
// closes, and end what breaks the protocol.
//
// Confined to the shard's thread. What it has to say it says to the Socket
// (Socket::Engine...), from within the calls here. No exception leaves it.

#pragma once

#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "broker/ws/handshake.h"

namespace broker {

class Socket;

class Engine {
 public:
  Engine();
  // Not while one of its functions is on the stack.
  ~Engine();

  // First of all, and once: accepts the upgrade, writes the 101 and reports
  // that the connection is open.
  void Start(Socket& socket, uint64_t max_message_bytes,
             const Upgrade& upgrade);
  // Bytes of the client, which are changed on the way. Once a connection has
  // ended they go nowhere.
  void Feed(absl::Span<char> data);
  // Whether the client has begun a message and not ended it, and how many times
  // it has ended what it began. That wraps.
  bool inside_message() const;
  uint32_t messages_ended() const;
  // Writes a close frame. False: there was one already.
  bool Close(uint16_t code, absl::string_view reason);

  // How many connections that have begun there are in the process. Any thread.
  static int64_t live_connections();

 private:
  class Connection;  // keeps websocketpp's headers out of here
  std::unique_ptr<Connection> connection_;
};

}  // namespace broker
