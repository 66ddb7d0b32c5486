#include "tests/fakes/ws_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace broker::testing {
namespace {

constexpr absl::string_view kMask = "\x12\x34\x56\x78";

int MillisecondsLeft(std::chrono::steady_clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::max<int64_t>(left.count(), 0));
}

}  // namespace

std::string HttpResponse::Header(absl::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (absl::EqualsIgnoreCase(key, name)) return value;
  }
  return "";
}

bool HttpResponse::HasHeader(absl::string_view name) const {
  return std::any_of(headers.begin(), headers.end(), [&](const auto& header) {
    return absl::EqualsIgnoreCase(header.first, name);
  });
}

std::string UpgradeRequest::Encode() const {
  std::string text = absl::StrCat("GET ", path, " HTTP/1.1\r\n");
  const auto given = [this](absl::string_view name) {
    return std::any_of(headers.begin(), headers.end(), [&](const auto& header) {
      return absl::EqualsIgnoreCase(header.first, name);
    });
  };
  for (const auto& [name, value] :
       {std::pair{"Host", "localhost"}, std::pair{"Upgrade", "websocket"},
        std::pair{"Connection", "Upgrade"},
        std::pair{"Sec-WebSocket-Version", "13"},
        std::pair{"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}}) {
    if (!given(name)) absl::StrAppend(&text, name, ": ", value, "\r\n");
  }
  for (const auto& [name, value] : headers) {
    absl::StrAppend(&text, name, ": ", value, "\r\n");
  }
  std::vector<std::string> offers = protocols;
  if (ticket) offers.push_back(absl::StrCat("ticket.", *ticket));
  if (!offers.empty()) {
    absl::StrAppend(
        &text, "Sec-WebSocket-Protocol: ", absl::StrJoin(offers, ", "), "\r\n");
  }
  return absl::StrCat(text, "\r\n");
}

uint16_t WsMessage::close_code() const {
  if (payload.size() < 2) return 1005;
  return static_cast<uint16_t>(static_cast<uint8_t>(payload[0]) << 8 |
                               static_cast<uint8_t>(payload[1]));
}

std::string WsMessage::close_reason() const {
  return payload.size() < 2 ? "" : payload.substr(2);
}

WsClient::~WsClient() { Disconnect(); }

bool WsClient::Connect(uint16_t port, const std::string& address) {
  Disconnect();
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  v4.sin_family = AF_INET;
  v4.sin_port = v6.sin6_port = htons(port);
  v6.sin6_family = AF_INET6;
  const bool is_v4 = inet_pton(AF_INET, address.c_str(), &v4.sin_addr) == 1;
  if (!is_v4) inet_pton(AF_INET6, address.c_str(), &v6.sin6_addr);
  fd_ = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_buffer_ > 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_,
               sizeof receive_buffer_);
  }
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const auto* at = is_v4 ? reinterpret_cast<sockaddr*>(&v4)
                         : reinterpret_cast<sockaddr*>(&v6);
  return connect(fd_, at, is_v4 ? sizeof v4 : sizeof v6) == 0;
}

HttpResponse WsClient::Handshake(uint16_t port, const UpgradeRequest& request) {
  if (!Connect(port) || !SendRaw(request.Encode())) return {};
  return ReadResponse();
}

HttpResponse WsClient::ReadResponse(std::chrono::milliseconds timeout) {
  const Deadline deadline = std::chrono::steady_clock::now() + timeout;
  HttpResponse response;
  size_t end;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (FillBuffer(deadline) != Fill::kData) return response;
  }
  const std::vector<std::string> lines =
      absl::StrSplit(buffer_.substr(0, end), "\r\n");
  buffer_.erase(0, end + 4);
  EXPECT_TRUE(absl::StartsWith(lines[0], "HTTP/1.1 ")) << lines[0];
  EXPECT_TRUE(absl::SimpleAtoi(lines[0].substr(9, 3), &response.status));
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::pair<std::string, std::string> field =
        absl::StrSplit(lines[i], absl::MaxSplits(": ", 1));
    response.headers.push_back(field);
  }
  size_t length = 0;
  if (response.HasHeader("Content-Length")) {
    EXPECT_TRUE(absl::SimpleAtoi(response.Header("Content-Length"), &length));
  }
  while (buffer_.size() < length && FillBuffer(deadline) == Fill::kData) {
  }
  response.body = buffer_.substr(0, length);
  EXPECT_EQ(response.body.size(), length) << "the body is cut off";
  buffer_.erase(0, length);
  return response;
}

WsClient::Fill WsClient::FillBuffer(Deadline deadline) {
  if (end_ != Fill::kData) return end_;
  if (fd_ < 0) return Fill::kEof;
  pollfd poll_for{fd_, POLLIN, 0};
  if (poll(&poll_for, 1, MillisecondsLeft(deadline)) <= 0) {
    return Fill::kTimeout;
  }
  char chunk[65536];
  const ssize_t n = recv(fd_, chunk, sizeof chunk, 0);
  if (n <= 0) return end_ = n == 0 ? Fill::kEof : Fill::kReset;
  received_ += static_cast<uint64_t>(n);
  buffer_.erase(0, taken_);
  taken_ = 0;
  const absl::string_view data(chunk, static_cast<size_t>(n));
  if (tls_ == nullptr) {
    buffer_.append(data.data(), data.size());
  } else {
    EXPECT_TRUE(tls_->Feed(data, buffer_)) << "the server's TLS is wrong";
    SendWire(tls_->TakeOutgoing());
  }
  return Fill::kData;
}

bool WsClient::ShakeHands() {
  const Deadline deadline = std::chrono::steady_clock::now() + kPatience;
  if (tls_ == nullptr) {
    tls_ = std::make_unique<TlsClient>(*tls_options_);
    if (!SendWire(tls_->TakeOutgoing())) return false;
  }
  while (!tls_->ready()) {
    if (FillBuffer(deadline) != Fill::kData) return false;
  }
  return true;
}

bool WsClient::TakeFrame(uint8_t& first_byte, std::string& payload) {
  const absl::string_view data = absl::string_view(buffer_).substr(taken_);
  if (data.size() < 2) return false;
  const auto byte = [&](size_t i) {
    return static_cast<uint64_t>(static_cast<uint8_t>(data[i]));
  };
  first_byte = static_cast<uint8_t>(byte(0));
  EXPECT_EQ(first_byte & 0x70, 0) << "a reserved bit is set";
  EXPECT_EQ(byte(1) & 0x80, 0U) << "a frame of the server is masked";
  const uint64_t length = byte(1) & 0x7f;
  const size_t more = length == 127 ? 8 : length == 126 ? 2 : 0;
  if (data.size() < 2 + more) return false;
  uint64_t size = more == 0 ? length : 0;
  for (size_t i = 0; i < more; ++i) size = size << 8 | byte(2 + i);
  if (data.size() < 2 + more + size) return false;
  payload = std::string(data.substr(2 + more, size));
  taken_ += 2 + more + size;
  return true;
}

std::optional<WsMessage> WsClient::TakeMessage() {
  uint8_t first_byte = 0;
  std::string payload;
  while (TakeFrame(first_byte, payload)) {
    const bool fin = (first_byte & 0x80) != 0;
    const uint8_t opcode = first_byte & 0x0f;
    if (opcode >= kClose) {
      EXPECT_LE(opcode, kPong);
      EXPECT_TRUE(fin && payload.size() <= 125) << "a bad control frame";
      return WsMessage{opcode, std::move(payload)};
    }
    EXPECT_LE(opcode, kBinary);
    EXPECT_EQ(opcode == kContinuation, partial_.has_value())
        << "fragments out of order";
    if (!partial_) partial_.emplace().opcode = opcode;
    partial_->payload += payload;
    if (fin) return std::exchange(partial_, std::nullopt);
  }
  return std::nullopt;
}

std::optional<WsMessage> WsClient::Read(std::chrono::milliseconds timeout) {
  const Deadline deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    if (std::optional<WsMessage> message = TakeMessage()) return message;
    if (FillBuffer(deadline) != Fill::kData) return std::nullopt;
  }
}

WsEnd WsClient::WaitClosed(std::chrono::milliseconds timeout) {
  const Deadline deadline = std::chrono::steady_clock::now() + timeout;
  const uint64_t before = received_;
  WsEnd end;
  for (;;) {
    while (const std::optional<WsMessage> message = TakeMessage()) {
      EXPECT_EQ(end.close_frames, 0) << "a frame behind the close frame";
      if (message->opcode != kClose) continue;
      ++end.close_frames;
      end.code = message->close_code();
    }
    const Fill fill = FillBuffer(deadline);
    if (fill == Fill::kData) continue;
    const WsEnd how = End(fill, before);
    end.how = how.how;
    end.bytes = how.bytes;
    return end;
  }
}

WsEnd WsClient::WaitEnd(std::chrono::milliseconds timeout) {
  const Deadline deadline = std::chrono::steady_clock::now() + timeout;
  const uint64_t before = received_;
  Fill fill = Fill::kData;
  while (fill == Fill::kData) {
    buffer_.clear();
    fill = FillBuffer(deadline);
  }
  return End(fill, before);
}

WsEnd WsClient::End(Fill fill, uint64_t bytes_before) const {
  WsEnd end;
  end.how = fill == Fill::kEof     ? WsEnd::How::kEof
            : fill == Fill::kReset ? WsEnd::How::kReset
                                   : WsEnd::How::kTimeout;
  end.bytes = received_ - bytes_before;
  return end;
}

bool WsClient::WaitReset(std::chrono::milliseconds timeout) {
  pollfd poll_for{fd_, 0, 0};  // POLLERR and POLLHUP are always on
  return poll(&poll_for, 1, static_cast<int>(timeout.count())) == 1;
}

bool WsClient::SendClose(uint16_t code, absl::string_view reason) {
  const char bytes[] = {static_cast<char>(code >> 8),
                        static_cast<char>(code & 0xff)};
  return SendFrame(
      kClose, absl::StrCat(absl::string_view(bytes, sizeof bytes), reason));
}

bool WsClient::SendFrame(uint8_t opcode, absl::string_view payload, bool fin) {
  return SendRaw(Encode(opcode, payload, fin));
}

std::string WsClient::Encode(uint8_t opcode, absl::string_view payload,
                             bool fin) {
  std::string frame(1, static_cast<char>((fin ? 0x80 : 0) | opcode));
  const uint64_t size = payload.size();
  const int length_bytes = size < 126 ? 0 : size < 65536 ? 2 : 8;
  frame += static_cast<char>(0x80 | (length_bytes == 0   ? size
                                     : length_bytes == 2 ? 126
                                                         : 127));
  for (int i = length_bytes - 1; i >= 0; --i) {
    frame += static_cast<char>(size >> (8 * i) & 0xff);
  }
  absl::StrAppend(&frame, kMask);
  for (size_t i = 0; i < payload.size(); ++i) {
    frame += static_cast<char>(payload[i] ^ kMask[i % 4]);
  }
  return frame;
}

bool WsClient::SendRaw(absl::string_view bytes) {
  if (!tls_options_) return SendWire(bytes);
  return ShakeHands() && tls_->Write(bytes) && SendWire(tls_->TakeOutgoing());
}

bool WsClient::SendWire(absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

uint32_t WsClient::data_segments() const {
  tcp_info info{};
  socklen_t size = sizeof info;
  EXPECT_EQ(getsockopt(fd_, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
  return info.tcpi_data_segs_in;
}

void WsClient::ShutdownWrite() { shutdown(fd_, SHUT_WR); }

void WsClient::Disconnect() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
  buffer_.clear();
  taken_ = 0;
  partial_.reset();
  tls_.reset();
  end_ = Fill::kData;
}

void WsClient::Reset() {
  const linger rst{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
  Disconnect();
}

}  // namespace broker::testing
