// Engine: websocketpp for the connections of one shard. It writes the 101,
// parses frames, and makes pongs and close frames; see websocketpp_config.h.
//
// Confined to the shard's thread. What it has to say it says to the Socket
// (Socket::Engine...), from within the calls here. No exception leaves it.

#pragma once

#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "broker/ws/frame_lengths.h"
#include "broker/ws/handshake.h"

namespace broker {

class EngineTransport;
class Socket;

// websocketpp's connection. Let go of it only when none of its functions is on
// the stack.
using EngineConnection = std::shared_ptr<EngineTransport>;

class Engine {
 public:
  Engine();
  ~Engine();

  // A connection that reports to the socket, which must outlive its use.
  EngineConnection Make(Socket& socket, uint64_t max_message_bytes);

  // Accepts the upgrade: writes the 101 and reports that it is open.
  void Start(EngineTransport& connection, const Upgrade& upgrade);
  // Bytes of the client. Once a connection has ended they go nowhere.
  void Feed(EngineTransport& connection, absl::string_view data);
  // Writes a close frame. False: there was one already.
  bool Close(EngineTransport& connection, uint16_t code,
             absl::string_view reason);

  // How many connections of websocketpp's there are in the process. Any thread.
  static int64_t live_connections();
  static void CountConnection(int change);

 private:
  struct Server;
  std::unique_ptr<Server> server_;
};

}  // namespace broker
