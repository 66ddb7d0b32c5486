#include "tests/integration/revocation_storm/clients.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace storm {
namespace {

constexpr std::chrono::seconds kPatience{120};
// Handshakes under way at once: fewer than the backlog of any listener.
constexpr size_t kAtOnce = 100;
constexpr int kRevoked = 4001;

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::exit(2);
}

// So little fits into the buffer of any socket. One that is closed already is
// found out by reading.
void Write(int fd, const std::string& data) {
  if (send(fd, data.data(), data.size(), MSG_NOSIGNAL) < 0 && errno != EPIPE &&
      errno != ECONNRESET) {
    Die("send");
  }
}

// Masked with zeros.
std::string MaskedFrame(char first, const std::string& payload) {
  return std::string(
             {first, static_cast<char>(0x80 | payload.size()), 0, 0, 0, 0}) +
         payload;
}
std::string Request() {
  return MaskedFrame('\x81', R"({"jsonrpc":"2.0","id":1,"method":"work"})");
}

}  // namespace

Clients::Clients(Options options, std::vector<std::string> tickets)
    : options_(options),
      tickets_(std::move(tickets)),
      clients_(tickets_.size()),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_ < 0) Die("epoll_create1");
}

Clients::~Clients() {
  for (Client& client : clients_) {
    if (client.fd >= 0) close(client.fd);
  }
  close(epoll_);
}

Clients::Result Clients::Run() {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (ended_ < clients_.size()) {
    if (std::chrono::steady_clock::now() > deadline) {
      result_.wrong = std::to_string(clients_.size() - ended_) +
                      " clients have not come to an end";
      break;
    }
    StartSome();
    epoll_event events[512];
    // Soon again while some wait for SetRevoked.
    const int count = epoll_wait(epoll_, events, 512, 1);
    for (int i = 0; i < count; ++i) Read(clients_[events[i].data.u64]);
  }
  return result_;
}

void Clients::StartSome() {
  while (next_ < clients_.size() && undecided_ < kAtOnce) {
    // Known before it connects: what it is told then is an answer of later.
    const bool late = revoked_;
    if (next_ >= clients_.size() - options_.late && !late) return;
    clients_[next_].late = late;
    Start(next_++);
    started_ = next_;
  }
}

void Clients::Start(size_t index) {
  Client& client = clients_[index];
  client.withholds =
      options_.withholding != 0 && index % options_.withholding == 0;
  client.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (client.fd < 0) Die("socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(options_.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(client.fd, reinterpret_cast<sockaddr*>(&address),
              sizeof address) != 0) {
    Die("connect");
  }
  // The first request comes with the handshake.
  Write(client.fd,
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Protocol: socketbroker.v1, ticket." +
            tickets_[index] + "\r\n\r\n" + Request());
  client.state = State::kHandshake;
  ++undecided_;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = index;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, client.fd, &event) != 0) {
    Die("epoll_ctl");
  }
}

void Clients::Read(Client& client) {
  char buffer[16384];
  const ssize_t size = recv(client.fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) return OnEnd(client, /*reset=*/size < 0);
  client.input.append(buffer, static_cast<size_t>(size));
  if (client.state == State::kHandshake) ReadResponse(client);
  while (client.state == State::kOpen && ReadFrame(client)) {
  }
  if (client.state == State::kClosing && !client.input.empty()) {
    Wrong(client, "got more behind its close frame");
    client.input.clear();
  }
}

void Clients::ReadResponse(Client& client) {
  const size_t end = client.input.find("\r\n\r\n");
  if (end == std::string::npos) return;
  --undecided_;
  const std::string status = client.input.substr(9, 3);
  if (status == "101" && !client.late) {
    ++result_.opened;
    client.input.erase(0, end + 4);
    client.state = State::kOpen;
    return Write(client.fd, Request());
  }
  if (status != "401") Wrong(client, "got status " + status);
  ++result_.refused;
  result_.refused_late += client.late;
  End(client);
}

// Frames of the broker are unmasked.
bool Clients::ReadFrame(Client& client) {
  const auto byte = [&](size_t i) {
    return static_cast<uint8_t>(client.input[i]);
  };
  if (client.input.size() < 2) return false;
  const size_t length = byte(1);
  if (length > 125) {
    Wrong(client, "got a frame that no reply is as long as");
    End(client);
    return false;
  }
  if (client.input.size() < 2 + length) return false;
  const int opcode = byte(0) & 0x0f;
  const int code = length < 2 ? 0 : byte(2) << 8 | byte(3);
  client.input.erase(0, 2 + length);
  if (opcode == 8) {
    OnClose(client, code);
  } else if (opcode == 1) {
    Write(client.fd, Request());  // A reply; so the next request.
  }
  return true;
}

void Clients::OnClose(Client& client, int code) {
  client.state = State::kClosing;
  if (code != kRevoked) {
    Wrong(client, "was closed with " + std::to_string(code));
  }
  if (!client.withholds) {
    return Write(client.fd, MaskedFrame('\x88', "\x0f\xa1"));  // 4001
  }
  ++result_.withheld;
  for (int i = 0; i < 3; ++i) Write(client.fd, Request());
}

void Clients::OnEnd(Client& client, bool reset) {
  if (client.state == State::kHandshake) {
    --undecided_;
    Wrong(client, "got no answer to its handshake");
  } else if (client.state == State::kOpen) {
    Wrong(client, "got no close frame");
  } else if (client.withholds) {
    result_.resets += reset;
  }
  End(client);
}

void Clients::End(Client& client) {
  close(std::exchange(client.fd, -1));
  client.state = State::kEnded;
  ++ended_;
}

void Clients::Wrong(const Client& client, const std::string& what) {
  if (!result_.wrong.empty()) return;
  result_.wrong = std::string("a client that came ") +
                  (client.late ? "after" : "before") + " the answer " + what;
}

}  // namespace storm
