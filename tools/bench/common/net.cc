#include "tools/bench/common/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace bench {
namespace {

constexpr int kBacklog = 4096;
constexpr int kUnsentBytes = 16 * 1024;

bool SetOption(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

sockaddr_in Local(uint8_t last, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(0x7f000000u | last);
  return address;
}

}  // namespace

void Die(const char* what) {
  std::perror(what);
  std::exit(1);
}

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) Die("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) Die("setrlimit");
}

int ListenLocally(uint16_t* port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) Die("socket");
  sockaddr_in address = Local(1, 0);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  // Accepted sockets inherit both TCP options.
  if (!SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1) ||
      !SetOption(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kUnsentBytes) ||
      bind(fd, generic, size) != 0 || listen(fd, kBacklog) != 0 ||
      getsockname(fd, generic, &size) != 0) {
    Die("listen");
  }
  *port = ntohs(address.sin_port);
  return fd;
}

int StartConnect(uint16_t port, uint8_t source, int receive_buffer) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) Die("socket");
  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  // The port is then chosen at connect, for this peer alone.
  SetOption(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
  if (receive_buffer > 0) {
    SetOption(fd, SOL_SOCKET, SO_RCVBUF, receive_buffer);
  }
  const sockaddr_in from = Local(source, 0);
  const sockaddr_in to = Local(1, port);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) {
    Die("bind");
  }
  if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 &&
      errno != EINPROGRESS) {
    Die("connect");
  }
  return fd;
}

void CloseWithReset(int fd) {
  const linger reset{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(fd);
}

Epoll::Epoll() : fd_(epoll_create1(EPOLL_CLOEXEC)) {
  if (fd_ < 0) Die("epoll_create1");
}

Epoll::~Epoll() { close(fd_); }

void Epoll::Add(int fd, uint32_t events, uint64_t tag) {
  epoll_event event{events, {.u64 = tag}};
  if (epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event) != 0) Die("epoll_ctl");
}

void Epoll::Change(int fd, uint32_t events, uint64_t tag) {
  epoll_event event{events, {.u64 = tag}};
  if (epoll_ctl(fd_, EPOLL_CTL_MOD, fd, &event) != 0) Die("epoll_ctl");
}

void Epoll::Remove(int fd) {
  if (epoll_ctl(fd_, EPOLL_CTL_DEL, fd, nullptr) != 0) Die("epoll_ctl");
}

}  // namespace bench
