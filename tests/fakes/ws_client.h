// WsClient: a blocking WebSocket client that does only what it is told, so that
// tests can misbehave: it can read nothing, answer nothing, send anything.
//
// What the server sends is held to RFC 6455; an error of the server fails the
// test. One thread at a time.

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "tests/fakes/tls_client.h"

namespace broker::testing {

// Of every wait that has no other: a test that gets here has failed.
inline constexpr std::chrono::milliseconds kPatience{10'000};

struct HttpResponse {
  int status = 0;  // 0: the connection ended before there was one
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;

  // The value of a header; empty when there is none.
  std::string Header(absl::string_view name) const;
  bool HasHeader(absl::string_view name) const;
};

// An upgrade request. Headers given here replace those of the same name.
struct UpgradeRequest {
  std::string path = "/ws";
  std::optional<std::string> ticket;   // as a subprotocol
  std::vector<std::string> protocols;  // without the ticket's
  std::vector<std::pair<std::string, std::string>> headers;

  std::string Encode() const;
};

// A message whose fragments have been put together, or a control frame.
struct WsMessage {
  uint8_t opcode = 0;
  std::string payload;

  // Of a close frame; 1005 when it has none.
  uint16_t close_code() const;
  std::string close_reason() const;
};

// How a connection ended.
struct WsEnd {
  enum class How { kEof, kReset, kTimeout };
  How how = How::kTimeout;
  std::optional<uint16_t> code;  // of the close frame, if one came
  int close_frames = 0;
  uint64_t bytes = 0;  // that came before the end
};

class WsClient {
 public:
  static constexpr uint8_t kContinuation = 0;
  static constexpr uint8_t kText = 1;
  static constexpr uint8_t kBinary = 2;
  static constexpr uint8_t kClose = 8;
  static constexpr uint8_t kPing = 9;
  static constexpr uint8_t kPong = 10;

  WsClient() {
    if (tls_by_default_) tls_options_.emplace();
  }
  ~WsClient();
  WsClient(const WsClient&) = delete;
  WsClient& operator=(const WsClient&) = delete;

  // Before Connect: how much the kernel may receive for it.
  void SetReceiveBuffer(int bytes) { receive_buffer_ = bytes; }
  // Before Connect: whether and how it speaks TLS; first of all, as the last
  // UseTlsByDefault said.
  void UseTls(std::optional<TlsClient::Options> options) {
    tls_options_ = std::move(options);
  }
  static void UseTlsByDefault(bool wanted) { tls_by_default_ = wanted; }
  // Null without TLS, or before its first byte.
  TlsClient* tls() { return tls_.get(); }
  bool Connect(uint16_t port, const std::string& address = "127.0.0.1");

  // Connect, the request, the response. Status 101 is a WebSocket.
  HttpResponse Handshake(uint16_t port, const UpgradeRequest& request = {});
  HttpResponse ReadResponse(std::chrono::milliseconds timeout = kPatience);

  // The next message or control frame; none when the connection ends first or
  // time is up.
  std::optional<WsMessage> Read(std::chrono::milliseconds timeout = kPatience);
  // Reads, and forgets, all that comes until the connection ends.
  WsEnd WaitClosed(std::chrono::milliseconds timeout = kPatience);
  // The same for bytes that are no frames; `code` stays unset.
  WsEnd WaitEnd(std::chrono::milliseconds timeout = kPatience);
  // Waits for the end without reading: for a reset.
  bool WaitReset(std::chrono::milliseconds timeout = kPatience);

  // False when the connection is gone.
  bool SendText(absl::string_view payload) { return SendFrame(kText, payload); }
  bool SendBinary(absl::string_view payload) {
    return SendFrame(kBinary, payload);
  }
  bool SendClose(uint16_t code, absl::string_view reason = "");
  bool SendFrame(uint8_t opcode, absl::string_view payload, bool fin = true);
  bool SendRaw(absl::string_view bytes);
  // Past TLS, as SendRaw is without.
  bool SendWire(absl::string_view bytes);

  // How many segments with data TCP has received.
  uint32_t data_segments() const;

  void ShutdownWrite();
  void Disconnect();  // a FIN, or a RST when there is something unread
  void Reset();       // a RST

  // A masked frame as it goes on the wire.
  static std::string Encode(uint8_t opcode, absl::string_view payload,
                            bool fin = true);

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  enum class Fill { kData, kEof, kReset, kTimeout };
  Fill FillBuffer(Deadline deadline);
  // Until the handshake of TLS is done.
  bool ShakeHands();
  // Takes a frame from the buffer, if there is a whole one.
  bool TakeFrame(uint8_t& first_byte, std::string& payload);
  WsEnd End(Fill fill, uint64_t bytes_before) const;
  // Takes what is complete from the buffer.
  std::optional<WsMessage> TakeMessage();

  static inline bool tls_by_default_ = false;

  int fd_ = -1;
  std::optional<TlsClient::Options> tls_options_;
  std::unique_ptr<TlsClient> tls_;
  int receive_buffer_ = 0;
  std::string buffer_;
  size_t taken_ = 0;  // of the buffer
  uint64_t received_ = 0;
  std::optional<WsMessage> partial_;
  Fill end_ = Fill::kData;  // how it ended, once it has
};

}  // namespace broker::testing
