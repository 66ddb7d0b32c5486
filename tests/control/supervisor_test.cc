#include "broker/control/supervisor.h"

#include <arpa/inet.h>
#include <grpcpp/create_channel.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
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

TEST_F(SupervisorTest, AServerThatIsDeadIsBuiltAgainAsSoonAsItCanBe) {
  Start();
  std::atomic<int> built{0};
  ControlSupervisor supervisor(
      "127.0.0.1", 0,
      [&](uint16_t port) {
        ++built;
        return Make(port);
      },
      kSoon);
  ASSERT_TRUE(supervisor.Start().ok());
  const uint16_t port = supervisor.server()->port();
  EXPECT_TRUE(Serves(port));
  {
    supervisor.server()->Shutdown(absl::ZeroDuration());
    const Taken taken(port);
    while (built < 3) std::this_thread::yield();
    EXPECT_EQ(supervisor.restarts(), 0u);
    // A drain may begin while there is none.
    supervisor.SetServing(false);
  }
  EXPECT_TRUE(Serves(port));
  while (supervisor.restarts() == 0) std::this_thread::yield();
  supervisor.Shutdown(absl::ZeroDuration());
  EXPECT_EQ(supervisor.restarts(), 1u);
}

}  // namespace
}  // namespace broker
