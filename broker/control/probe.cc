#include "broker/control/probe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/strip.h"

namespace broker {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

// The size of the address, 0 when it is none.
socklen_t Parse(absl::string_view address, uint16_t port,
                sockaddr_storage& out) {
  if (absl::ConsumePrefix(&address, "unix:")) {
    auto& un = reinterpret_cast<sockaddr_un&>(out);
    if (address.size() >= sizeof un.sun_path) return 0;
    un.sun_family = AF_UNIX;
    std::copy(address.begin(), address.end(), un.sun_path);
    return sizeof un;
  }
  const std::string text(address);
  auto& v4 = reinterpret_cast<sockaddr_in&>(out);
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    return sizeof v4;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(out);
  if (inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    return sizeof v6;
  }
  return 0;
}

bool WaitFor(int fd, short events, std::chrono::steady_clock::time_point end) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    pollfd wanted{fd, events, 0};
    const int ready =
        poll(&wanted, 1, static_cast<int>(std::max<int64_t>(0, left.count())));
    if (ready >= 0) return ready == 1;
    if (errno != EINTR) return false;
  }
}

}  // namespace

ProbeResult Probe(const std::string& address, uint16_t port,
                  std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  sockaddr_storage to{};
  const socklen_t size = Parse(address, port, to);
  // The server needs a descriptor, too: a probe that takes the last one would
  // kill what it asks for.
  Descriptor for_the_server(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Descriptor fd(
      socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (for_the_server.get() < 0 || fd.get() < 0) return ProbeResult::kUnknown;
  for_the_server.Close();
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), size) != 0 &&
      errno != EINPROGRESS) {
    return ProbeResult::kSilent;
  }
  if (!WaitFor(fd.get(), POLLOUT, end)) return ProbeResult::kSilent;
  int error = 0;
  socklen_t error_size = sizeof error;
  getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &error_size);
  if (error != 0) return ProbeResult::kSilent;
  shutdown(fd.get(), SHUT_WR);
  return WaitFor(fd.get(), POLLIN, end) ? ProbeResult::kAnswers
                                        : ProbeResult::kSilent;
}

}  // namespace broker
