#include "broker/control/probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace broker {
namespace {

constexpr std::chrono::milliseconds kShort{200};
constexpr std::chrono::milliseconds kLong{10'000};

// A listener on a free port of 127.0.0.1, or on a path.
class Listener {
 public:
  explicit Listener(const std::string& path = "") {
    if (path.empty()) {
      sockaddr_in at{};
      at.sin_family = AF_INET;
      at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      Listen(at);
      socklen_t size = sizeof at;
      getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
      port_ = ntohs(at.sin_port);
    } else {
      unlink(path.c_str());
      sockaddr_un at{};
      at.sun_family = AF_UNIX;
      path.copy(at.sun_path, sizeof at.sun_path - 1);
      Listen(at);
    }
  }
  ~Listener() { close(fd_); }
  uint16_t port() const { return port_; }
  void AcceptAndClose() { close(accept(fd_, nullptr, nullptr)); }

 private:
  template <typename Address>
  void Listen(const Address& at) {
    const auto* address = reinterpret_cast<const sockaddr*>(&at);
    fd_ = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(fd_, address, sizeof at), 0);
    EXPECT_EQ(listen(fd_, 16), 0);
  }
  int fd_ = -1;
  uint16_t port_ = 0;
};

TEST(ProbeTest, WhoAcceptsAnswers) {
  Listener listener;
  std::thread server([&] { listener.AcceptAndClose(); });
  EXPECT_EQ(Probe("127.0.0.1", listener.port(), kLong), ProbeResult::kAnswers);
  server.join();
}

TEST(ProbeTest, AnswersOnAUnixSocket) {
  const std::string path = ::testing::TempDir() + "probe.sock";
  Listener listener(path);
  std::thread server([&] { listener.AcceptAndClose(); });
  EXPECT_EQ(Probe("unix:" + path, 0, kLong), ProbeResult::kAnswers);
  server.join();
}

TEST(ProbeTest, WhoListensAndNeverAcceptsIsSilent) {
  const Listener listener;
  EXPECT_EQ(Probe("127.0.0.1", listener.port(), kShort), ProbeResult::kSilent);
}

TEST(ProbeTest, WhereNobodyListensItIsSilent) {
  const uint16_t port = Listener().port();
  EXPECT_EQ(Probe("127.0.0.1", port, kShort), ProbeResult::kSilent);
  EXPECT_EQ(Probe("unix:/does/not/exist", 0, kShort), ProbeResult::kSilent);
}

// It needs one, and leaves the last one to the server.
TEST(ProbeTest, WithoutTwoDescriptorsNothingIsKnown) {
  Listener listener;
  std::vector<int> open;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t before = std::exchange(limit.rlim_cur, 64);
  setrlimit(RLIMIT_NOFILE, &limit);
  for (int fd = dup(0); fd >= 0; fd = dup(0)) open.push_back(fd);
  EXPECT_EQ(Probe("127.0.0.1", listener.port(), kShort), ProbeResult::kUnknown);
  close(open.back());
  open.pop_back();
  EXPECT_EQ(Probe("127.0.0.1", listener.port(), kShort), ProbeResult::kUnknown);
  close(open.back());
  open.pop_back();
  EXPECT_EQ(Probe("127.0.0.1", listener.port(), kShort), ProbeResult::kSilent)
      << "with two it finds out: nobody accepts";
  for (const int fd : open) close(fd);
  limit.rlim_cur = before;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace
}  // namespace broker
