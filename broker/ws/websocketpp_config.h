// websocketpp 0.8.2 configured as a pure protocol engine: of all that it has,
// its processor for RFC 6455 and what that needs. No connections, endpoints,
// logs, timers, locks or sockets: those are ours.
//
// Included by engine.cc only. Confined to the shard's thread.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "websocketpp/extensions/permessage_deflate/disabled.hpp"
#include "websocketpp/http/request.hpp"
#include "websocketpp/http/response.hpp"
#include "websocketpp/message_buffer/alloc.hpp"
#include "websocketpp/message_buffer/message.hpp"
#include "websocketpp/processors/hybi13.hpp"
#include "websocketpp/random/none.hpp"

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

// Without state, so that one serves all.
class EngineMessageFactory {
 public:
  using ptr = const EngineMessageFactory*;
  EngineMessage::ptr get_message(websocketpp::frame::opcode::value opcode,
                                 size_t size) const {
    return std::make_shared<EngineMessage>(opcode, size);
  }
};

struct EngineConfig {
  using request_type = websocketpp::http::parser::request;
  using response_type = websocketpp::http::parser::response;
  using message_type = EngineMessage;
  using con_msg_manager_type = EngineMessageFactory;
  // For masks, which only clients need.
  using rng_type = websocketpp::random::none::int_generator<uint32_t>;
  // NOLINTBEGIN(readability-identifier-naming): the names are websocketpp's
  struct permessage_deflate_config {
    using request_type = EngineConfig::request_type;
  };
  using permessage_deflate_type =
      websocketpp::extensions::permessage_deflate::disabled<
          permessage_deflate_config>;
  static constexpr bool enable_extensions = false;
  static constexpr size_t max_message_size = 0;  // each has its endpoint's
  // NOLINTEND(readability-identifier-naming)
};

using EngineProcessor = websocketpp::processor::hybi13<EngineConfig>;

}  // namespace broker
