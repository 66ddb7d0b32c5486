// websocketpp 0.8.2 configured as a pure protocol engine: no logs, no timers,
// no locks, no sockets. It is handed bytes and hands bytes back, to a Socket.
//
// Included by engine.cc only: websocketpp costs ten seconds to compile.
// Confined to the shard's thread.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "broker/ws/engine.h"
#include "websocketpp/concurrency/none.hpp"
#include "websocketpp/connection_base.hpp"
#include "websocketpp/endpoint_base.hpp"
#include "websocketpp/extensions/permessage_deflate/disabled.hpp"
#include "websocketpp/http/request.hpp"
#include "websocketpp/http/response.hpp"
#include "websocketpp/logger/stub.hpp"
#include "websocketpp/message_buffer/alloc.hpp"
#include "websocketpp/message_buffer/message.hpp"
#include "websocketpp/random/none.hpp"
#include "websocketpp/transport/base/connection.hpp"
#include "websocketpp/transport/base/endpoint.hpp"

namespace broker {
class EngineMessage;
}

// Every write completes at once, so the send queue of a connection never holds
// more than one message; std::deque would take 576 bytes for it. A program may
// specialise this because it depends on a type of ours.
template <>
class std::queue<std::shared_ptr<broker::EngineMessage>> {
 public:
  using Item = std::shared_ptr<broker::EngineMessage>;
  bool empty() const { return items_.empty(); }
  size_t size() const { return items_.size(); }
  Item& front() { return items_.front(); }
  void push(Item item) { items_.push_back(std::move(item)); }
  void pop() { items_.erase(items_.begin()); }

 private:
  std::vector<Item> items_;
};

#include "websocketpp/server.hpp"

namespace broker {

class EngineMessage : public websocketpp::message_buffer::message<
                          websocketpp::message_buffer::alloc::con_msg_manager> {
 public:
  using ptr = std::shared_ptr<EngineMessage>;
  // What a client merely announces is not yet a reason to hold memory.
  static constexpr size_t kMaxReserve = 16 * 1024;

  explicit EngineMessage(websocketpp::frame::opcode::value opcode =
                             websocketpp::frame::opcode::text,
                         size_t size = 0)
      : message(nullptr, opcode, std::min(size, kMaxReserve)) {}
};

class EngineMessageFactory {
 public:
  using ptr = std::shared_ptr<EngineMessageFactory>;
  using weak_ptr = std::weak_ptr<EngineMessageFactory>;
  EngineMessage::ptr get_message() { return std::make_shared<EngineMessage>(); }
  EngineMessage::ptr get_message(websocketpp::frame::opcode::value opcode,
                                 size_t size) {
    return std::make_shared<EngineMessage>(opcode, size);
  }
};

using EngineLogger = std::shared_ptr<websocketpp::log::stub>;

// websocketpp asks for timers only when its timeouts are not 0, and they are.
class NoTimer {
 public:
  explicit operator bool() const { return false; }
  NoTimer* operator->() { return this; }
  void cancel() {}
  void reset() {}
};

// The transport end of a connection, as websocketpp wants it. A write is over
// as soon as the Socket has the bytes, so that websocketpp's own queue stays
// empty: there is one order and one account, the Outbox's.
class EngineTransport : public std::enable_shared_from_this<EngineTransport> {
 public:
  using ptr = std::shared_ptr<EngineTransport>;
  using timer_ptr = NoTimer;
  using Error = std::error_code;

  EngineTransport(bool, const EngineLogger&, const EngineLogger&) {
    Engine::CountConnection(1);
  }
  ~EngineTransport() { Engine::CountConnection(-1); }
  EngineTransport(const EngineTransport&) = delete;
  EngineTransport& operator=(const EngineTransport&) = delete;

  ptr get_shared() { return shared_from_this(); }
  void set_handle(const websocketpp::connection_hdl&) {}
  bool is_secure() const { return false; }
  // Asked for logs, which are off.
  std::string get_remote_endpoint() const { return {}; }
  template <typename Handler>
  void init(Handler&& done) {
    done(Error());
  }
  template <typename Handler>
  Error dispatch(Handler&& run) {
    run();
    return Error();
  }
  NoTimer set_timer(long, const websocketpp::transport::timer_handler&) {
    return NoTimer();
  }

  // A lasting handler, the library's own member, is referenced; a temporary one
  // is kept. That saves a copy for every message.
  template <typename Handler>
  void async_read_at_least(size_t, char* buffer, size_t size, Handler&& done) {
    read_into = buffer;
    read_size = size;
    if constexpr (std::is_lvalue_reference_v<Handler>) {
      reader = &done;
    } else {
      first_reader = std::forward<Handler>(done);
    }
  }

  // The 101.
  template <typename Handler>
  void async_write(const char* data, size_t size, Handler&& done) {
    WriteHead(data, size);
    done(Error());
  }
  // Frames: header, payload, header, payload and so on.
  template <typename Handler>
  void async_write(const std::vector<websocketpp::transport::buffer>& buffers,
                   Handler&& done) {
    for (size_t i = 0; i + 1 < buffers.size(); i += 2) {
      WriteFrame(buffers[i], buffers[i + 1]);
    }
    done(Error());
  }
  template <typename Handler>
  void async_shutdown(Handler&& done) {
    End();
    done(Error());
  }

  Socket* socket = nullptr;
  FrameLengths lengths;
  // Where the next bytes are wanted; null when none are.
  char* read_into = nullptr;
  size_t read_size = 0;
  const websocketpp::transport::read_handler* reader = nullptr;
  websocketpp::transport::read_handler first_reader;

 private:
  void WriteHead(const char* data, size_t size);
  void WriteFrame(const websocketpp::transport::buffer& header,
                  const websocketpp::transport::buffer& payload);
  void End();
};

class EngineEndpoint {
 public:
  using transport_con_type = EngineTransport;
  using transport_con_ptr = EngineTransport::ptr;
  void init_logging(const EngineLogger&, const EngineLogger&) {}
  std::error_code init(const transport_con_ptr&) { return {}; }
  bool is_secure() const { return false; }
};

struct EngineConfig {
  using type = EngineConfig;
  using concurrency_type = websocketpp::concurrency::none;
  using request_type = websocketpp::http::parser::request;
  using response_type = websocketpp::http::parser::response;
  using message_type = EngineMessage;
  using con_msg_manager_type = EngineMessageFactory;
  using endpoint_msg_manager_type =
      websocketpp::message_buffer::alloc::endpoint_msg_manager<
          EngineMessageFactory>;
  using elog_type = websocketpp::log::stub;
  using alog_type = websocketpp::log::stub;
  using rng_type = websocketpp::random::none::int_generator<uint32_t>;
  using transport_type = EngineEndpoint;
  using endpoint_base = websocketpp::endpoint_base;
  using connection_base = websocketpp::connection_base;
  struct permessage_deflate_config {
    using request_type = EngineConfig::request_type;
  };
  using permessage_deflate_type =
      websocketpp::extensions::permessage_deflate::disabled<
          permessage_deflate_config>;

  static constexpr bool enable_multithreading = false;
  static constexpr bool drop_on_protocol_error = false;
  static constexpr bool silent_close = false;
  static constexpr bool enable_extensions = false;
  // All deadlines are the Socket's.
  static constexpr long timeout_open_handshake = 0;
  static constexpr long timeout_close_handshake = 0;
  static constexpr long timeout_pong = 0;
  static constexpr int client_version = 13;
  static constexpr websocketpp::log::level elog_level = 0;
  static constexpr websocketpp::log::level alog_level = 0;
  // Every connection has one for life.
  static constexpr size_t connection_read_buffer_size = 256;
  static constexpr size_t max_message_size = 1 << 20;
  static constexpr size_t max_http_body_size = 0;
};

using EngineServer = websocketpp::server<EngineConfig>;

}  // namespace broker

// With its logs off websocketpp still composes these lines, in a stringstream
// each, for every connection that opens and for every one that closes.
template <>
inline void websocketpp::connection<broker::EngineConfig>::log_open_result() {}
template <>
inline void websocketpp::connection<broker::EngineConfig>::log_close_result() {}
