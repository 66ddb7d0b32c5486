#include "broker/control/supervisor.h"

#include <arpa/inet.h>
#include <grpcpp/create_channel.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/fakes/hub_fixture.h"

namespace broker {
namespace {

class SupervisorTest : public testing::HubFixture {
 protected:
  static constexpr ControlSupervisor::Patience kSoon{
      std::chrono::milliseconds(10), std::chrono::milliseconds(1'000), 1};

  std::unique_ptr<ControlServer> Make(uint16_t port) {
    ControlServer::Options options;
    options.port = port;
    return std::make_unique<ControlServer>(*hub_, access_, nullptr, options,
                                           BrokerFacts());
  }
  static bool Serves(uint16_t port) {
    return grpc::CreateChannel(absl::StrCat("127.0.0.1:", port),
                               grpc::InsecureChannelCredentials())
        ->WaitForConnected(std::chrono::system_clock::now() +
                           std::chrono::seconds(10));
  }

  Access access_{nullptr, false, Clock::System()};
};

// Binds a port that nobody listens on.
class Taken {
 public:
  explicit Taken(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    const int on = 1;
    setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address),
              0);
    EXPECT_EQ(listen(fd_, 0), 0);
  }
  ~Taken() { close(fd_); }

 private:
  const int fd_;
};

// As dead as after a want of descriptors: nobody is accepted any more.
void KillListener(uint16_t port) {
  int killed = 0;
  for (int fd = 3; fd < 1024; ++fd) {
    // gRPC listens with IPv6, on IPv4 addresses too. Both have it there.
    sockaddr_in6 address{};
    socklen_t size = sizeof address;
    int listens = 0;
    socklen_t listens_size = sizeof listens;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
        (address.sin6_family != AF_INET && address.sin6_family != AF_INET6) ||
        ntohs(address.sin6_port) != port ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) !=
            0 ||
        listens == 0) {
      continue;
    }
    ++killed;
    shutdown(fd, SHUT_RDWR);
  }
  EXPECT_EQ(killed, 1);
}

TEST_F(SupervisorTest, AServerThatIsDeadIsBuiltAgainAsSoonAsItCanBe) {
  Start();
  std::atomic<int> built{0};
  std::optional<Taken> taken;
  ControlSupervisor supervisor(
      "127.0.0.1", 0,
      [&](uint16_t port) {
        if (++built == 2) taken.emplace(port);
        return Make(port);
      },
      kSoon);
  ASSERT_TRUE(supervisor.Start().ok());
  const uint16_t port = supervisor.server()->port();
  EXPECT_TRUE(Serves(port));
  KillListener(port);
  while (built < 3) std::this_thread::yield();
  EXPECT_EQ(supervisor.restarts(), 0u);
  // A drain may begin while there is none.
  supervisor.SetServing(false);
  taken.reset();
  EXPECT_TRUE(Serves(port));
  while (supervisor.restarts() == 0) std::this_thread::yield();
  supervisor.Shutdown(absl::ZeroDuration());
  EXPECT_EQ(supervisor.restarts(), 1u);
}

}  // namespace
}  // namespace broker
