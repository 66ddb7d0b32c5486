#include "broker/ws/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace broker {
namespace {

constexpr int kBacklog = 4096;
// So many bytes the kernel takes beyond what TCP has sent. They cannot be
// called back, so they are what a revocation may still deliver.
constexpr int kUnsentBytes = 16 * 1024;

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const {
    return reinterpret_cast<const sockaddr*>(&storage);
  }
};

bool Parse(const std::string& text, uint16_t port, SocketAddress& result) {
  auto* v4 = reinterpret_cast<sockaddr_in*>(&result.storage);
  if (inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    result.size = sizeof *v4;
    return true;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&result.storage);
  if (inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    result.size = sizeof *v6;
    return true;
  }
  return false;
}

bool SetOption(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

uint16_t BoundPort(int fd) {
  SocketAddress bound;
  bound.size = sizeof bound.storage;
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound.storage), &bound.size);
  return ToPeerAddress(bound.storage).port;
}

// A listening descriptor, or -1 with errno. The first one is bound without
// SO_REUSEPORT, so that a port that another broker listens on is an error, and
// gets the option before it listens, so that the others may follow.
int ListenOne(const SocketAddress& at, bool first, bool shared) {
  const int fd = socket(at.storage.ss_family,
                        SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const auto share = [fd] {
    return SetOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  };
  // Accepted sockets inherit both TCP options.
  const bool ok = SetOption(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
                  SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1) &&
                  SetOption(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kUnsentBytes) &&
                  (first || share()) && bind(fd, at.get(), at.size) == 0 &&
                  (!first || !shared || share()) && listen(fd, kBacklog) == 0;
  if (ok) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

PeerAddress ToPeerAddress(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return {text, ntohs(v4.sin_port)};
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof text);
  } else {
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  }
  return {text, ntohs(v6.sin6_port)};
}

ssize_t SendSome(int fd, const iovec* parts, size_t count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = count;
  constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
  for (;;) {
    const ssize_t n = count == 1
                          ? send(fd, parts->iov_base, parts->iov_len, kFlags)
                          : sendmsg(fd, &message, kFlags);
    if (n >= 0) return n;
    if (errno == EINTR) continue;
    return errno == EAGAIN ? 0 : -1;
  }
}

absl::StatusOr<Listeners> Listen(const std::string& address, uint16_t port,
                                 int count) {
  Listeners result;
  result.port = port;
  for (int i = 0; i < count; ++i) {
    SocketAddress at;
    if (!Parse(address, result.port, at)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "cannot listen on ", address, ": it is no IPv4 or IPv6 address"));
    }
    const int fd = ListenOne(at, i == 0, count > 1);
    if (fd < 0) {
      const std::string error = std::strerror(errno);
      for (const int open : result.fds) close(open);
      return absl::UnavailableError(absl::StrCat("cannot listen on ", address,
                                                 " port ", port, ": ", error));
    }
    if (i == 0) result.port = BoundPort(fd);
    result.fds.push_back(fd);
  }
  return result;
}

}  // namespace broker
