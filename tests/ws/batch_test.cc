// What is sent within one turn of the loop leaves in one write, in order, and
// whatever else happens in that turn.

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

class BatchTest : public WsFixture {
 protected:
  // Sends numbered frames to one connection, in this turn. On the shard.
  void SendNumbered(Slot slot, int first, int count, size_t payload_size) {
    for (int i = first; i < first + count; ++i) {
      SendResult result{};
      transport().Send({slot}, Numbered(i, payload_size), &result);
      EXPECT_EQ(result, SendResult::kQueued);
    }
  }
  static void ExpectNumbered(WsClient& client, int first, int count,
                             size_t payload_size) {
    for (int i = first; i < first + count; ++i) {
      const auto message = client.Read();
      ASSERT_TRUE(message.has_value()) << i;
      ASSERT_EQ(message->payload, NumberedPayload(i, payload_size));
    }
  }
};

TEST_F(BatchTest, ATurnIsOneSegment) {
  Start();
  WsClient client;
  Admit(client);
  const uint32_t before = client.data_segments();
  OnShard([&] { SendNumbered(0, 0, 16, 128); });
  ExpectNumbered(client, 0, 16, 128);
  EXPECT_EQ(client.data_segments() - before, 1u);
  // Nor does one alone wait for company.
  OnShard([&] { SendNumbered(0, 16, 1, 128); });
  ExpectNumbered(client, 16, 1, 128);
}

TEST_F(BatchTest, AHealthyClientMayGetMoreThanItsOutboxHoldsInOneTurn) {
  endpoint().max_outbox_bytes = 32 * 1024;
  Start();
  WsClient client;
  Admit(client);
  OnShard([&] { SendNumbered(0, 0, 6, 8'000); });
  ExpectNumbered(client, 0, 6, 8'000);
  EXPECT_EQ(Closes(4008), 0u);
}

TEST_F(BatchTest, ACloseComesBehindWhatWasSentBeforeIt) {
  Start();
  WsClient client;
  Admit(client);
  OnShard([&] {
    SendNumbered(0, 0, 3, 100);
    transport().Close(0, CloseCode::kRemoved, absl::ZeroDuration());
    SendResult result{};
    transport().Send({0}, Numbered(3, 100), &result);
    EXPECT_EQ(result, SendResult::kGone);
  });
  ExpectNumbered(client, 0, 3, 100);
  const auto end = client.Read();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->opcode, WsClient::kClose);
  EXPECT_EQ(end->close_code(), 1000);
}

TEST_F(BatchTest, WhatWaitsIsInTheOutbox) {
  Start();
  WsClient client;
  Admit(client);
  OnShard([&] {
    SendNumbered(0, 0, 2, 100);
    EXPECT_EQ(transport().Outbox(0).now, 2 * Numbered(0, 100)->size());
  });
  EXPECT_EQ(OutboxOf(0).now, 0u);
}

TEST_F(BatchTest, TheDeadAreFoundOut) {
  Start();
  WsClient client, other;
  Admit(client);
  Admit(other, "a2");
  client.Reset();
  OnShard([&] {
    // Unless the event has come already.
    if (Closes(1006) == 0) SendNumbered(0, 0, 1, 100);
    SendNumbered(1, 0, 1, 100);
  });
  ExpectNumbered(other, 0, 1, 100);
  EXPECT_TRUE(WaitFor([&] { return Closes(1006) == 1; }));
}

// Overlapping recipients, clients that read slowly, sizes that do and do not
// fit the kernel, pings between: everybody gets what it was sent, in order.
TEST_F(BatchTest, EveryMixArrivesInOrder) {
  constexpr int kClients = 8;
  endpoint().max_outbox_bytes = 64 << 20;
  Start();
  std::mt19937 random(7);
  std::vector<std::unique_ptr<WsClient>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<WsClient>());
    if (i % 2 == 0) clients.back()->SetReceiveBuffer(4096);
    Admit(*clients.back(), absl::StrCat("a", i));
  }
  std::vector<std::vector<std::string>> expected(kClients);
  const auto turn = [&](int number) {
    const auto sends = 1 + random() % 10;
    for (size_t i = 0; i < sends; ++i) {
      const size_t size = random() % 4 == 0 ? random() % 60'000 : random() % 99;
      const FramePtr frame = Numbered(number, size + 10);
      std::vector<Slot> slots;
      for (Slot slot = 0; slot < kClients; ++slot) {
        if (random() % 3 == 0) continue;
        slots.push_back(slot);
        expected[slot].push_back(NumberedPayload(number, size + 10));
      }
      std::vector<SendResult> results(slots.size());
      transport().Send(slots, frame, results.data());
      for (const SendResult result : results) {
        ASSERT_EQ(result, SendResult::kQueued);
      }
    }
  };
  for (int i = 0; i < 60; ++i) {
    if (i % 5 == 0) clients[random() % kClients]->SendFrame(9, "ping");
    OnShard([&] { turn(i); });
  }
  for (int i = 0; i < kClients; ++i) {
    for (const std::string& payload : expected[i]) {
      auto message = clients[i]->Read();
      while (message && message->opcode == WsClient::kPong) {
        message = clients[i]->Read();
      }
      ASSERT_TRUE(message.has_value());
      ASSERT_EQ(message->payload, payload);
    }
    EXPECT_EQ(OutboxOf(static_cast<Slot>(i)).now, 0u);
  }
}

}  // namespace
}  // namespace broker::testing
