// Many WebSocket clients in one process, for test_ten_thousand.py.
//
//   clients PORT  < one ticket a line, an empty line, then commands
//
// Connects one client with each ticket, says {"open":n,"refused":n}, and then
// answers each command when it is fulfilled, or as things stand after 30 s:
//   messages N   every open client has got a message since the last answer, N
//                in all: {"messages":n,"clients":n}
//   closes N     N have been closed: {"closes":n,"revoked":n,"open":n}
// It ends with its input.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

namespace {

constexpr int kTimeoutSeconds = 30;
// Handshakes under way at once: fewer than the backlog of any listener.
constexpr size_t kAtOnce = 100;
constexpr uint16_t kRevoked = 4001;

enum class State { kNew, kHandshake, kOpen, kRefused, kClosed };

struct Client {
  State state = State::kNew;
  int fd = -1;
  std::string input;
  uint64_t messages = 0;
  uint16_t close_code = 0;
};

struct Tally {
  uint64_t open = 0;
  uint64_t refused = 0;
  uint64_t closes = 0;
  uint64_t revoked = 0;
  uint64_t messages = 0;
  uint64_t clients_with_messages = 0;
};

[[noreturn]] void Fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

class Clients {
 public:
  Clients(uint16_t port, std::vector<std::string> tickets)
      : port_(port),
        tickets_(std::move(tickets)),
        clients_(tickets_.size()),
        epoll_(epoll_create1(0)) {
    if (epoll_ < 0) Fail("epoll_create1");
  }

  void ConnectAll() {
    const auto deadline = Deadline();
    size_t next = 0;
    while (tally_.open + tally_.refused < clients_.size()) {
      while (next < clients_.size() &&
             next - tally_.open - tally_.refused < kAtOnce) {
        Connect(next++);
      }
      if (!Poll(deadline)) return;
    }
  }

  void AwaitMessages(uint64_t wanted) {
    const auto deadline = Deadline();
    while (tally_.messages < wanted && Poll(deadline)) {
    }
  }

  void AwaitCloses(uint64_t wanted) {
    const auto deadline = Deadline();
    while (tally_.closes < wanted && Poll(deadline)) {
    }
  }

  const Tally& tally() const { return tally_; }

  void ForgetMessages() {
    tally_.messages = tally_.clients_with_messages = 0;
    for (Client& client : clients_) client.messages = 0;
  }

 private:
  using Clock = std::chrono::steady_clock;

  static Clock::time_point Deadline() {
    return Clock::now() + std::chrono::seconds(kTimeoutSeconds);
  }

  void Connect(size_t index) {
    Client& client = clients_[index];
    client.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client.fd < 0) Fail("socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(client.fd, reinterpret_cast<sockaddr*>(&address),
                sizeof address) != 0)
      Fail("connect");
    Write(client,
          "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
          "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
          "Sec-WebSocket-Protocol: socketbroker.v1, ticket." +
              tickets_[index] + "\r\n\r\n");
    client.state = State::kHandshake;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = index;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, client.fd, &event) != 0)
      Fail("epoll_ctl");
  }

  // So little fits into the buffer of any socket. One that is closed already
  // is found out by reading.
  static void Write(const Client& client, const std::string& data) {
    if (send(client.fd, data.data(), data.size(), MSG_NOSIGNAL) < 0 &&
        errno != EPIPE && errno != ECONNRESET) {
      Fail("send");
    }
  }

  // False when the deadline has passed.
  bool Poll(Clock::time_point deadline) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - Clock::now());
    if (left.count() <= 0) return false;
    epoll_event events[512];
    const int count =
        epoll_wait(epoll_, events, 512, static_cast<int>(left.count()));
    for (int i = 0; i < count; ++i) Read(clients_[events[i].data.u64]);
    return true;
  }

  void Read(Client& client) {
    char buffer[65536];
    const ssize_t size = recv(client.fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) return Drop(client);
    client.input.append(buffer, static_cast<size_t>(size));
    if (client.state == State::kHandshake && !ReadResponse(client)) return;
    while (client.state == State::kOpen && ReadFrame(client)) {
    }
  }

  bool ReadResponse(Client& client) {
    const size_t end = client.input.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    if (client.input.compare(0, 13, "HTTP/1.1 101 ") != 0) {
      Drop(client);
      return false;
    }
    client.input.erase(0, end + 4);
    client.state = State::kOpen;
    ++tally_.open;
    return true;
  }

  // False when there is no whole frame. Broker frames are unmasked.
  bool ReadFrame(Client& client) {
    const auto byte = [&](size_t i) {
      return static_cast<uint8_t>(client.input[i]);
    };
    if (client.input.size() < 2) return false;
    size_t length = byte(1) & 0x7f;
    size_t head = 2;
    if (length == 126) {
      if (client.input.size() < 4) return false;
      length = static_cast<size_t>(byte(2) << 8 | byte(3));
      head = 4;
    }
    if (client.input.size() < head + length) return false;
    const int opcode = byte(0) & 0x0f;
    if (opcode == 1) {
      ++tally_.messages;
      if (client.messages++ == 0) ++tally_.clients_with_messages;
    } else if (opcode == 8) {
      client.close_code = static_cast<uint16_t>(
          length < 2 ? 1005 : byte(head) << 8 | byte(head + 1));
      // The answer, masked with zeros: the same code.
      Write(client,
            std::string("\x88\x82\0\0\0\0", 6) + client.input.substr(head, 2));
    }
    client.input.erase(0, head + length);
    return true;
  }

  void Drop(Client& client) {
    if (client.state == State::kHandshake) {
      ++tally_.refused;
      client.state = State::kRefused;
    } else {
      --tally_.open;
      ++tally_.closes;
      if (client.close_code == kRevoked) ++tally_.revoked;
      client.state = State::kClosed;
    }
    close(client.fd);
  }

  const uint16_t port_;
  const std::vector<std::string> tickets_;
  std::vector<Client> clients_;
  const int epoll_;
  Tally tally_;
};

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) Fail("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) Fail("setrlimit");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "clients PORT\n";
    return 2;
  }
  RaiseDescriptorLimit();
  std::vector<std::string> tickets;
  for (std::string line; std::getline(std::cin, line) && !line.empty();)
    tickets.push_back(line);

  Clients clients(static_cast<uint16_t>(std::atoi(argv[1])),
                  std::move(tickets));
  const Tally& tally = clients.tally();
  clients.ConnectAll();
  std::cout << "{\"open\":" << tally.open << ",\"refused\":" << tally.refused
            << "}" << std::endl;

  std::string command;
  for (uint64_t count = 0; std::cin >> command >> count;) {
    if (command == "messages") {
      clients.AwaitMessages(count);
      std::cout << "{\"messages\":" << tally.messages
                << ",\"clients\":" << tally.clients_with_messages << "}"
                << std::endl;
      clients.ForgetMessages();
    } else if (command == "closes") {
      clients.AwaitCloses(count);
      std::cout << "{\"closes\":" << tally.closes
                << ",\"revoked\":" << tally.revoked
                << ",\"open\":" << tally.open << "}" << std::endl;
    } else {
      std::cerr << "unknown command: " << command << "\n";
      return 2;
    }
  }
  return 0;
}
