#include "broker/hub/tickets.h"

#include <atomic>
#include <thread>

#include "gtest/gtest.h"
#include "tests/fakes/fake_clock.h"

namespace broker {
namespace {

class TicketsTest : public ::testing::Test {
 protected:
  Ticket NewTicket() {
    Ticket ticket;
    ticket.ns = "default";
    ticket.identity = Identity::Make({});
    ticket.expires = clock_.Monotonic() + std::chrono::seconds(30);
    return ticket;
  }
  std::optional<Ticket> Take(const std::string& secret,
                             std::optional<std::string> origin = {}) {
    return tickets_.Take(secret, "default", origin, clock_.Monotonic());
  }

  testing::FakeClock clock_;
  Tickets tickets_;
};

TEST_F(TicketsTest, SecretsAreLongAndDiffer) {
  const auto one = tickets_.Mint(NewTicket(), clock_.Monotonic());
  const auto two = tickets_.Mint(NewTicket(), clock_.Monotonic());
  EXPECT_EQ(one->size(), 43u);
  EXPECT_NE(*one, *two);
  EXPECT_EQ(one->find_first_not_of(
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                "-_"),
            std::string::npos);
}

TEST_F(TicketsTest, OneOfManyThatPresentItGetsIt) {
  const std::string secret = *tickets_.Mint(NewTicket(), clock_.Monotonic());
  std::atomic<int> taken = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { taken += Take(secret).has_value(); });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(taken, 1);
}

TEST_F(TicketsTest, IsGoneAtItsTime) {
  const std::string secret = *tickets_.Mint(NewTicket(), clock_.Monotonic());
  clock_.Advance(absl::Seconds(30));
  EXPECT_FALSE(Take(secret));
  EXPECT_EQ(tickets_.outstanding(), 0u);
}

TEST_F(TicketsTest, StaysWhenPresentedInTheWrongPlace) {
  Ticket ticket = NewTicket();
  ticket.allowed_origins = {"https://app.example"};
  const std::string secret = *tickets_.Mint(ticket, clock_.Monotonic());
  EXPECT_FALSE(tickets_.Take(secret, "other", "https://app.example",
                             clock_.Monotonic()));
  EXPECT_FALSE(Take(secret, "https://app.example.evil"));
  EXPECT_FALSE(Take(secret));
  EXPECT_TRUE(Take(secret, "https://app.example"));
}

TEST_F(TicketsTest, AreLimitedAndMakeRoomAsTheyExpire) {
  for (size_t i = 0; i < Tickets::kMaxOutstanding; ++i) {
    ASSERT_TRUE(tickets_.Mint(NewTicket(), clock_.Monotonic()).ok());
  }
  EXPECT_EQ(tickets_.Mint(NewTicket(), clock_.Monotonic()).status().code(),
            absl::StatusCode::kResourceExhausted);
  clock_.Advance(absl::Seconds(31));
  EXPECT_TRUE(tickets_.Mint(NewTicket(), clock_.Monotonic()).ok());
}

}  // namespace
}  // namespace broker
