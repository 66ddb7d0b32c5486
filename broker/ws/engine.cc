#include "broker/ws/engine.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/session/close_code.h"
#include "broker/ws/socket.h"
#include "broker/ws/websocketpp_config.h"

namespace broker {
namespace {

namespace opcode = websocketpp::frame::opcode;
using Connection = EngineServer::connection_type;

std::atomic<int64_t> live{0};

Connection& Down(EngineTransport& transport) {
  return static_cast<Connection&>(transport);
}

Connection& Get(const websocketpp::connection_hdl& handle) {
  // The handler's caller is a member of the connection, so it is alive.
  return *static_cast<Connection*>(handle.lock().get());
}

void Deliver(Connection& connection, absl::string_view data) {
  while (!data.empty() && connection.read_into != nullptr) {
    const size_t size = std::min(data.size(), connection.read_size);
    std::memcpy(std::exchange(connection.read_into, nullptr), data.data(),
                size);
    data.remove_prefix(size);
    if (connection.first_reader) {
      std::exchange(connection.first_reader, nullptr)({}, size);
    } else {
      (*connection.reader)({}, size);
    }
  }
}

// A sequence that its last bytes began and did not end. websocketpp looks for
// one only when the last frame is not a continuation.
bool EndsInsideCodePoint(absl::string_view text) {
  size_t continuations = 0;
  while (continuations < 3 && continuations < text.size()) {
    const auto c = static_cast<uint8_t>(text[text.size() - 1 - continuations]);
    if (c < 0x80) return false;
    if (c >= 0xc0) {
      const size_t wanted = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
      return continuations < wanted;
    }
    ++continuations;
  }
  return false;
}

void CloseWith(Connection& connection, CloseCode code) {
  std::error_code ignored;
  connection.close(static_cast<uint16_t>(code), std::string(CloseReason(code)),
                   ignored);
}

// A handler that throws costs its connection, not the process.
template <typename Handler>
void Guarded(Connection& connection, Handler handler) {
  try {
    handler();
  } catch (...) {
    CloseWith(connection, CloseCode::kInternal);
  }
}

// The connection is open: what only its handshake needed is freed. websocketpp
// has no other way to let go of it.
void DropHandshake(Connection& connection) {
  const auto request = std::move(
      const_cast<EngineConfig::request_type&>(connection.get_request()));
  const auto response = std::move(
      const_cast<EngineConfig::response_type&>(connection.get_response()));
  connection.set_uri(nullptr);
}

void HandleMessage(Connection& connection, EngineMessage& message) {
  const bool text = message.get_opcode() == opcode::text;
  std::string& payload = message.get_raw_payload();
  if (text && EndsInsideCodePoint(payload)) {
    return CloseWith(connection, CloseCode::kBadUtf8);
  }
  connection.socket->EngineGotMessage(text ? Opcode::kText : Opcode::kBinary,
                                      std::move(payload));
}

}  // namespace

// ---- what websocketpp asks of a transport ----------------------------------

void EngineTransport::WriteHead(const char* data, size_t size) {
  const iovec part{const_cast<char*>(data), size};
  socket->EngineWroteHead(part);
}

void EngineTransport::WriteFrame(
    const websocketpp::transport::buffer& header,
    const websocketpp::transport::buffer& payload) {
  const iovec parts[] = {{const_cast<char*>(header.buf), header.len},
                         {const_cast<char*>(payload.buf), payload.len}};
  if ((header.buf[0] & 0x0f) != opcode::close) {
    return socket->EngineWroteFrame(parts);
  }
  const auto byte = [&](size_t i) {
    return static_cast<uint8_t>(payload.buf[i]);
  };
  const int code = payload.len < 2 ? 1005 : byte(0) << 8 | byte(1);
  socket->EngineWroteClose(parts, static_cast<uint16_t>(code));
}

void EngineTransport::End() { socket->EngineEnded(); }

// ---- the engine ------------------------------------------------------------

struct Engine::Server {
  EngineServer endpoint;
};

Engine::Engine() : server_(std::make_unique<Server>()) {
  // It is lazily initialised, and a data race if two threads do it first.
  websocketpp::lib::net::_htonll(1);
  EngineServer& endpoint = server_->endpoint;
  endpoint.set_user_agent("");  // no Server header
  endpoint.set_validate_handler([](const websocketpp::connection_hdl& handle) {
    Connection& connection = Get(handle);
    if (!connection.get_requested_subprotocols().empty()) {
      std::error_code ignored;
      connection.select_subprotocol(std::string(kSubprotocol), ignored);
    }
    return true;
  });
  endpoint.set_open_handler([](const websocketpp::connection_hdl& handle) {
    Connection& connection = Get(handle);
    DropHandshake(connection);
    Guarded(connection, [&] { connection.socket->EngineOpened(); });
  });
  endpoint.set_message_handler([](const websocketpp::connection_hdl& handle,
                                  const EngineMessage::ptr& message) {
    Connection& connection = Get(handle);
    Guarded(connection, [&] { HandleMessage(connection, *message); });
  });
  endpoint.set_ping_handler([](const websocketpp::connection_hdl& handle,
                               const std::string&) {
    Connection& connection = Get(handle);
    bool answer = false;
    Guarded(connection, [&] { answer = connection.socket->EngineGotPing(); });
    return answer;
  });
}

Engine::~Engine() = default;

EngineConnection Engine::Make(Socket& socket, uint64_t max_message_bytes) {
  try {
    std::shared_ptr<Connection> connection = server_->endpoint.get_connection();
    connection->socket = &socket;
    connection->set_max_message_size(max_message_bytes);
    return connection;
  } catch (...) {
    return nullptr;
  }
}

void Engine::Start(EngineTransport& transport, const Upgrade& upgrade) {
  try {
    Down(transport).start();
    Deliver(Down(transport), PlainHead(upgrade));
  } catch (...) {
    transport.socket->EngineEnded();
  }
}

void Engine::Feed(EngineTransport& transport, absl::string_view data) {
  try {
    if (transport.lengths.Accept(data)) return Deliver(Down(transport), data);
    CloseWith(Down(transport), CloseCode::kProtocolError);
    transport.read_into = nullptr;
  } catch (...) {
    transport.socket->EngineEnded();
  }
}

bool Engine::Close(EngineTransport& transport, uint16_t code,
                   absl::string_view reason) {
  try {
    std::error_code error;
    Down(transport).close(code, std::string(reason), error);
    return !error;
  } catch (...) {
    return false;
  }
}

int64_t Engine::live_connections() {
  return live.load(std::memory_order_relaxed);
}

void Engine::CountConnection(int change) {
  live.fetch_add(change, std::memory_order_relaxed);
}

}  // namespace broker
