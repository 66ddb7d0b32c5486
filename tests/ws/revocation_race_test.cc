// Revocation against a storm of connects, over real sockets and real threads:
// once a close by key has been answered, no connection that was verified before
// is left, and none comes.

#include <atomic>
#include <thread>

#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

constexpr int kRounds = 8;
constexpr int kClients = 8;  // at a time, each on a thread of its own

class RevocationRaceTest : public WsFixture {
 protected:
  uint64_t CloseAccount(const std::string& account) {
    RevokeCommand command;
    command.target.kind = RevocationTarget::Kind::kAccount;
    command.target.key = account;
    std::promise<uint64_t> closed;
    hub_->Revoke(command, [&](absl::StatusOr<RevokeResult> result) {
      closed.set_value(result.ok() ? result->closed : ~uint64_t{0});
    });
    return closed.get_future().get();
  }
  uint64_t Count() {
    std::promise<uint64_t> count;
    hub_->Count("default", Predicate::All(), [&](absl::StatusOr<uint64_t> n) {
      count.set_value(n.value_or(~uint64_t{0}));
    });
    return count.get_future().get();
  }
};

TEST_F(RevocationRaceTest, NothingVerifiedBeforeIsLeftOrComes) {
  Start(/*shards=*/2);
  for (int round = 0; round < kRounds; ++round) {
    const std::string account = absl::StrCat("a", round);
    std::vector<std::string> tickets;
    for (int i = 0; i < kClients; ++i) tickets.push_back(Mint(account));

    std::atomic<int> under_way = 0;
    std::atomic<int> wrong = 0;
    std::vector<std::thread> clients;
    for (int i = 0; i < kClients; ++i) {
      clients.emplace_back([&, i] {
        WsClient client;
        UpgradeRequest request;
        request.protocols = {"socketbroker.v1"};
        request.ticket = tickets[i];
        ++under_way;
        const int status = client.Handshake(port(), request).status;
        if (status == 401) return;  // The revocation was first.
        if (status != 101 || client.WaitClosed().code != 4001) ++wrong;
      });
    }
    while (under_way < kClients / 2) std::this_thread::yield();
    CloseAccount(account);
    // Whoever is let in from now on was verified before, and must not be.
    EXPECT_EQ(Count(), 0u) << round;
    for (std::thread& t : clients) t.join();
    EXPECT_EQ(wrong, 0) << round;
    EXPECT_EQ(Count(), 0u) << round;
    EXPECT_EQ(CloseAccount(account), 0u) << round;
  }
}

}  // namespace
}  // namespace broker::testing
