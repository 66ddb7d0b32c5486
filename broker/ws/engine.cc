#include "broker/ws/engine.h"

#include <sys/uio.h>

#include <array>
#include <atomic>
#include <string>
#include <system_error>
#include <utility>

#include "broker/session/close_code.h"
#include "broker/ws/frame_lengths.h"
#include "broker/ws/socket.h"
#include "broker/ws/websocketpp_config.h"

namespace broker {
namespace {

namespace opcode = websocketpp::frame::opcode;
namespace close_status = websocketpp::close::status;

constexpr EngineMessageFactory kMessages;
// It has no state either.
EngineConfig::rng_type no_random;

// websocketpp finds out about byte order when it first needs it, which would be
// a data race between shards: here it is before there are any.
[[maybe_unused]] const uint64_t byte_order = websocketpp::lib::net::_htonll(1);

std::atomic<int64_t> live{0};

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

// All that websocketpp complains of here is in the client's bytes; what it has
// no close code for, such as a length in more bytes than it takes, too.
uint16_t CodeOf(std::error_code error) {
  const uint16_t code = websocketpp::processor::error::to_ws(error);
  return code == close_status::invalid_payload ||
                 code == close_status::message_too_big
             ? code
             : close_status::protocol_error;
}

// The 101. The request that websocketpp gets to see has only what it answers
// to; ReadHead has checked the rest.
std::string SwitchingProtocols(const EngineProcessor& processor,
                               const Upgrade& upgrade) {
  EngineConfig::request_type request;
  request.replace_header("Sec-WebSocket-Key", upgrade.key);
  EngineConfig::response_type response;
  response.set_version("HTTP/1.1");
  response.set_status(websocketpp::http::status_code::switching_protocols);
  processor.process_handshake(
      request, upgrade.subprotocol ? std::string(kSubprotocol) : std::string(),
      response);
  return response.raw();
}

}  // namespace

class Engine::Connection {
 public:
  Connection(Socket& socket, uint64_t max_message_bytes)
      : socket_(socket),
        processor_(/*secure=*/false, /*p_is_server=*/true, &kMessages,
                   no_random) {
    processor_.set_max_message_size(max_message_bytes);
    live.fetch_add(1, std::memory_order_relaxed);
  }
  ~Connection() { live.fetch_sub(1, std::memory_order_relaxed); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void Start(const Upgrade& upgrade) {
    std::string head = SwitchingProtocols(processor_, upgrade);
    socket_.EngineWroteHead({head.data(), head.size()});
    Guarded([this] { socket_.EngineOpened(); });
  }

  void Feed(absl::Span<char> data) {
    const size_t good = lengths_.Accept({data.data(), data.size()});
    const bool forbidden = good < data.size();
    Parse(data.subspan(0, good));
    if (forbidden) Fail(CloseCode::kProtocolError);
  }

  bool Close(uint16_t code, const std::string& reason) {
    if (state_ != State::kOpen) return false;
    state_ = State::kClosing;
    const auto frame = std::make_shared<EngineMessage>();
    if (processor_.prepare_close(code, reason, frame)) return false;
    socket_.EngineWroteClose(PartsOf(*frame), code);
    // Who broke the protocol is not expected to answer.
    if (close_status::terminal(code)) End();
    return true;
  }

  void End() {
    if (std::exchange(state_, State::kEnded) == State::kEnded) return;
    socket_.EngineEnded();
  }

  const FrameLengths& lengths() const { return lengths_; }

 private:
  enum class State : uint8_t {
    kOpen,
    kClosing,  // a close frame is written, and the client's is awaited
    kEnded,    // nothing more is said or heard
  };

  void Parse(absl::Span<char> data) {
    while (!data.empty() && state_ != State::kEnded) {
      std::error_code error;
      const size_t taken = processor_.consume(
          reinterpret_cast<uint8_t*>(data.data()), data.size(), error);
      if (error) return Fail(CodeOf(error), error.message());
      data.remove_prefix(taken);
      if (processor_.ready()) HandleMessage(*processor_.get_message());
    }
  }

  // Header and payload.
  static std::array<iovec, 2> PartsOf(EngineMessage& frame) {
    std::string& payload = frame.get_raw_payload();
    return {{{const_cast<char*>(frame.get_header().data()),
              frame.get_header().size()},
             {payload.data(), payload.size()}}};
  }

  // It cannot go on; mostly because the client broke the protocol.
  void Fail(uint16_t code, const std::string& reason) {
    Close(code, reason);
    End();
  }
  void Fail(CloseCode code) {
    Fail(static_cast<uint16_t>(code), std::string(CloseReason(code)));
  }

  // A handler that throws costs its connection, not the process.
  template <typename Handler>
  void Guarded(Handler handler) {
    try {
      handler();
    } catch (...) {
      Fail(CloseCode::kInternal);
    }
  }

  void HandleMessage(EngineMessage& message) {
    switch (message.get_opcode()) {
      case opcode::close:
        return HandleClose(message.get_payload());
      case opcode::ping:
        return HandlePing(message.get_payload());
      case opcode::text:
      case opcode::binary:
        return HandleData(message);
      default:
        return;  // a pong: to have been heard is what matters
    }
  }

  void HandleData(EngineMessage& message) {
    if (state_ != State::kOpen) return;
    const bool text = message.get_opcode() == opcode::text;
    std::string& payload = message.get_raw_payload();
    if (text && EndsInsideCodePoint(payload)) {
      return Fail(CloseCode::kBadUtf8);
    }
    Guarded([&] {
      socket_.EngineGotMessage(text ? Opcode::kText : Opcode::kBinary,
                               std::move(payload));
    });
  }

  void HandlePing(const std::string& payload) {
    if (state_ != State::kOpen) return;
    bool answer = false;
    Guarded([&] { answer = socket_.EngineGotPing(); });
    if (!answer || state_ != State::kOpen) return;
    const auto pong = std::make_shared<EngineMessage>();
    if (processor_.prepare_pong(payload, pong)) return;
    socket_.EngineWroteFrame(PartsOf(*pong));
  }

  // Echoes the code, unless this is the echo of ours. Either way it is over.
  void HandleClose(const std::string& payload) {
    std::error_code error;
    uint16_t code = websocketpp::close::extract_code(payload, error);
    if (error) return Fail(close_status::protocol_error, "Invalid close code");
    const std::string reason =
        websocketpp::close::extract_reason(payload, error);
    if (error) {
      return Fail(close_status::invalid_payload, "Invalid close reason");
    }
    if (code == close_status::no_status) code = close_status::normal;
    Close(code, reason);
    End();
  }

  Socket& socket_;
  State state_ = State::kOpen;
  FrameLengths lengths_;
  EngineProcessor processor_;
};

Engine::Engine() = default;
Engine::~Engine() = default;

void Engine::Start(Socket& socket, uint64_t max_message_bytes,
                   const Upgrade& upgrade) {
  try {
    connection_ = std::make_unique<Connection>(socket, max_message_bytes);
    connection_->Start(upgrade);
  } catch (...) {
    socket.EngineEnded();
  }
}

void Engine::Feed(absl::Span<char> data) {
  try {
    connection_->Feed(data);
  } catch (...) {
    connection_->End();
  }
}

bool Engine::Close(uint16_t code, absl::string_view reason) {
  try {
    return connection_ != nullptr &&
           connection_->Close(code, std::string(reason));
  } catch (...) {
    return false;
  }
}

bool Engine::inside_message() const {
  return connection_->lengths().unfinished();
}

uint32_t Engine::messages_ended() const {
  return connection_->lengths().ends();
}

int64_t Engine::live_connections() {
  return live.load(std::memory_order_relaxed);
}

}  // namespace broker
