#include "tools/bench/floor/server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tools/bench/common/frames.h"

namespace bench {
namespace {

constexpr uint64_t kListenerTag = ~uint64_t{0};
constexpr uint64_t kWakeTag = kListenerTag - 1;

std::string MakeResponse() {
  std::string response =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
      "Connection: Upgrade\r\nSec-WebSocket-Accept: ";
  response.append(kAccept);
  return response + "\r\nSec-WebSocket-Protocol: socketbroker.v1\r\n\r\n";
}

// -1: the peer is gone. 0: the socket takes nothing now.
ssize_t SendSome(int fd, std::string_view bytes) {
  const ssize_t sent =
      send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent < 0 && errno == EAGAIN ? 0 : sent;
}

// As little of JSON-RPC as anybody could look at and still know a notification.
bool LooksLikeNotification(std::string_view text) {
  return !text.empty() && text.front() == '{' && text.back() == '}' &&
         text.find("\"jsonrpc\":\"2.0\"") != std::string_view::npos &&
         text.find("\"method\":") != std::string_view::npos;
}

}  // namespace

FloorServer::FloorServer() : listener_(ListenLocally(&port_)) {
  epoll_.Add(listener_, EPOLLIN, kListenerTag);
}

void FloorServer::WakeOn(int fd) { epoll_.Add(fd, EPOLLIN, kWakeTag); }

void FloorServer::Poll(int timeout_ms) {
  epoll_.Poll(timeout_ms, [this](uint64_t tag, uint32_t events) {
    if (tag == kListenerTag) return Accept();
    if (tag == kWakeTag) return;
    const auto index = static_cast<size_t>(tag);
    if ((events & EPOLLOUT) != 0 && hot_[index].fd >= 0) Flush(index);
    if ((events & ~uint32_t{EPOLLOUT}) != 0) Read(index);
  });
}

void FloorServer::Accept() {
  for (int i = 0; i < 64; ++i) {
    const int fd =
        accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    epoll_.Add(fd, EPOLLIN, hot_.size());
    hot_.push_back({fd, false, false});
    cold_.emplace_back();
    if (tls_ != nullptr) cold_.back().tls = std::make_unique<Tls>(*tls_);
  }
}

// ---- what comes in ----------------------------------------------------------

void FloorServer::Read(size_t index) {
  if (hot_[index].fd < 0) return;
  // What is left of the last time goes in front of what comes now.
  std::string& in = cold_[index].in;
  std::memcpy(buffer_.data(), in.data(), in.size());
  char* const fresh = buffer_.data() + in.size();
  ssize_t got = recv(hot_[index].fd, fresh, buffer_.size() - in.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return End(index);
  if (cold_[index].tls != nullptr) {
    got = static_cast<ssize_t>(Decrypt(index, fresh, static_cast<size_t>(got)));
  }
  const size_t size = in.size() + static_cast<size_t>(got);
  size_t used = 0;
  if (!hot_[index].open) used = TakeHead(index, {buffer_.data(), size});
  if (hot_[index].open) {
    used += TakeFrames(index, buffer_.data() + used, size - used);
  }
  if (hot_[index].fd >= 0 && (used < size || !in.empty())) {
    in.assign(buffer_.data() + used, size - used);
  }
}

size_t FloorServer::Decrypt(size_t index, char* bytes, size_t size) {
  Tls& tls = *cold_[index].tls;
  plain_.clear();
  if (!tls.Decrypt({bytes, size}, &plain_)) Die("a client speaks no TLS");
  if (!tls.Outgoing().empty()) SendAllOfTls(index);  // of the handshake
  std::memcpy(bytes, plain_.data(), plain_.size());
  return plain_.size();
}

// Gives the socket, or else its queue, what TLS has to send.
void FloorServer::SendAllOfTls(size_t index) {
  Tls& tls = *cold_[index].tls;
  std::shared_ptr<const std::string> own;
  SendOrKeep(index, tls.Outgoing(), &own);
  tls.Sent();
}

size_t FloorServer::TakeHead(size_t index, std::string_view bytes) {
  static const std::string& response = *new std::string(MakeResponse());
  const size_t end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return 0;
  hot_[index].open = true;
  ++open_;
  SendTo(index, response);
  return end + 4;
}

size_t FloorServer::TakeFrames(size_t index, char* bytes, size_t size) {
  size_t used = 0;
  while (hot_[index].fd >= 0) {
    const FrameHead head = ReadFrameHead({bytes + used, size - used});
    if (head.size == 0 || size - used - head.size < head.length) return used;
    char* payload = bytes + used + head.size;
    if (head.masked) ApplyMask(head.mask, payload, head.length);
    used += head.size + head.length;
    TakeFrame(index, head.opcode(), {payload, head.length});
  }
  return used;
}

void FloorServer::TakeFrame(size_t index, uint8_t opcode,
                            std::string_view payload) {
  if (opcode == kPong) {
    ++pongs_;
  } else if (opcode == kPing) {
    std::string pong;
    AppendServerFrame(kPong, payload, &pong);
    SendTo(index, pong);
  } else if (opcode == kClose) {
    End(index);
  } else if (LooksLikeNotification(payload)) {
    ++messages_;
  } else {
    ++others_;
  }
}

void FloorServer::End(size_t index) {
  if (hot_[index].open) --open_;
  close(hot_[index].fd);
  hot_[index] = {};
  cold_[index] = {};
}

// ---- what goes out ----------------------------------------------------------

void FloorServer::SendToAll(std::string_view bytes) {
  std::shared_ptr<const std::string> shared;
  for (size_t i = 0; i < hot_.size(); ++i) {
    if (hot_[i].open && cold_[i].tls == nullptr) SendOrKeep(i, bytes, &shared);
    if (hot_[i].open && cold_[i].tls != nullptr) SendTo(i, bytes);
  }
}

void FloorServer::SendTo(size_t index, std::string_view bytes) {
  std::shared_ptr<const std::string> shared;
  if (!hot_[index].open) return;
  if (cold_[index].tls == nullptr) return SendOrKeep(index, bytes, &shared);
  cold_[index].tls->Encrypt(bytes);
  SendAllOfTls(index);
}

void FloorServer::SendOrKeep(size_t index, std::string_view bytes,
                             std::shared_ptr<const std::string>* shared) {
  Hot& hot = hot_[index];
  const ssize_t sent = hot.full ? 0 : SendSome(hot.fd, bytes);
  // A client that is gone shows when it is read.
  if (sent < 0 || static_cast<size_t>(sent) == bytes.size()) return;
  if (*shared == nullptr) *shared = std::make_shared<const std::string>(bytes);
  cold_[index].out.push_back({*shared, static_cast<size_t>(sent)});
  if (hot.full) return;
  hot.full = true;
  epoll_.Change(hot.fd, EPOLLIN | EPOLLOUT, index);
}

bool FloorServer::SendBare(size_t index, std::string_view bytes) const {
  return SendSome(hot_[index].fd, bytes) == static_cast<ssize_t>(bytes.size());
}

void FloorServer::Flush(size_t index) {
  std::vector<Rest>& out = cold_[index].out;
  for (size_t i = 0; i < out.size(); ++i) {
    const std::string_view bytes = *out[i].bytes;
    const ssize_t sent = SendSome(hot_[index].fd, bytes.substr(out[i].sent));
    if (sent < 0) return End(index);
    out[i].sent += static_cast<size_t>(sent);
    if (out[i].sent == bytes.size()) continue;
    out.erase(out.begin(), out.begin() + static_cast<ptrdiff_t>(i));
    return;
  }
  out.clear();
  hot_[index].full = false;
  epoll_.Change(hot_[index].fd, EPOLLIN, index);
}

void FloorServer::CloseFirst(size_t count, uint16_t code) {
  const char payload[2] = {static_cast<char>(code >> 8),
                           static_cast<char>(code & 0xff)};
  std::string frame;
  AppendServerFrame(kClose, {payload, 2}, &frame);
  for (size_t i = 0; i < hot_.size() && count > 0; ++i) {
    if (!hot_[i].open) continue;
    SendTo(i, frame);
    --count;
  }
}

}  // namespace bench
