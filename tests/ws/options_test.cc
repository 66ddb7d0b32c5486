// Messages with options over real sockets: who reads slowly misses some, whole
// ones and no others, stays connected, and every message has one end.

#include <future>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

using std::chrono::milliseconds;

class OptionsTest : public WsFixture {
 protected:
  void SetUp() override {
    settings_.limits.ping_interval = {};
    endpoint().soft_outbox_bytes = 1 << 20;
    endpoint().max_outbox_bytes = 4 << 20;
    endpoint().soft_outbox_time = std::chrono::minutes(1);
  }

  // An open connection whose client reads nothing, with more in its outbox than
  // the kernels may still take. Returns how many messages it was sent.
  int Jam(WsClient& client) {
    client.SetReceiveBuffer(4096);
    Admit(client);
    int sent = 0;
    OnShard([&] {
      while (transport().Outbox(0).now < kJam) {
        SendResult result{};
        transport().Send({0}, Numbered(sent++, kJam), &result);
        ASSERT_EQ(result, SendResult::kQueued);
      }
    });
    return sent;
  }
  static void ReadJam(WsClient& client, int sent) {
    for (int i = 0; i < sent; ++i) {
      ASSERT_EQ(Payload(client), NumberedPayload(i, kJam));
    }
  }
  static std::string Payload(WsClient& client) {
    const auto message = client.Read();
    return message ? message->payload : "nothing came";
  }

  static FramePtr With(const std::string& payload, MessageOptions options) {
    return Frame::Encode(
        Opcode::kBinary, payload,
        std::make_shared<const MessageOptions>(std::move(options)));
  }
  static FramePtr Drop(const std::string& payload) {
    MessageOptions options;
    options.slow_policy = SlowPolicy::kDrop;
    return With(payload, options);
  }
  static FramePtr Latest(const std::string& key, const std::string& payload) {
    MessageOptions options;
    options.slow_policy = SlowPolicy::kLatest;
    options.conflation_key = key;
    return With(payload, options);
  }
  static MonotonicTime In(milliseconds time) {
    return Clock::System().Monotonic() + time;
  }
  // What becomes of a message to slot 0.
  std::future<SendOutcome> Track(const std::string& payload, milliseconds ttl) {
    MessageOptions options;
    options.expires_at = In(ttl);
    options.tracker = std::make_shared<OutcomeTracker>(/*keep_each=*/true);
    EXPECT_EQ(Send(0, With(payload, options)), SendResult::kQueued);
    auto end = std::make_shared<std::promise<SendOutcome>>();
    options.tracker->Await(1, [end](const OutcomeTracker::Ends& ends) {
      EXPECT_EQ(ends.each.size(), 1u);
      end->set_value(ends.each.front().second);
    });
    return end->get_future();
  }

  static constexpr size_t kJam = 200'000;
  static constexpr milliseconds kLong{50'000};
};

TEST_F(OptionsTest, ADroppedMessageLeavesTheConnectionAlone) {
  Start();
  WsClient client;
  const int jam = Jam(client);
  int queued = 0;
  const auto number = [](int i) { return NumberedPayload(i, 50'000); };
  while (Send(0, Drop(number(queued))) == SendResult::kQueued) ++queued;
  EXPECT_GT(queued, 5);
  EXPECT_EQ(Send(0, Drop(number(queued))), SendResult::kDropped);
  EXPECT_LE(OutboxOf(0).now, uint64_t{1} << 20);
  // Others still have room above the soft limit.
  EXPECT_EQ(Send(0, Numbered(0, 50'000)), SendResult::kQueued);
  ReadJam(client, jam);
  for (int i = 0; i < queued; ++i) ASSERT_EQ(Payload(client), number(i));
  EXPECT_EQ(Payload(client), number(0));
  EXPECT_TRUE(WaitFor([&] { return transport().Outbox(0).now == 0; }));
  EXPECT_EQ(Send(0, Drop("again")), SendResult::kQueued);
  EXPECT_EQ(Payload(client), "again");
  EXPECT_EQ(Closes(4008), 0u);
}

TEST_F(OptionsTest, AMessageOverTheSoftLimitIsDroppedEvenByAnIdleClient) {
  endpoint().soft_outbox_bytes = 1'000;
  Start();
  WsClient client;
  Admit(client);
  EXPECT_EQ(Send(0, Drop(std::string(1'000, 'x'))), SendResult::kDropped);
  EXPECT_EQ(Send(0, Drop(std::string(900, 'x'))), SendResult::kQueued);
  EXPECT_EQ(Payload(client), std::string(900, 'x'));
}

TEST_F(OptionsTest, OnlyTheNewestOfAKeyArrives) {
  Start();
  WsClient client;
  const int jam = Jam(client);
  OnShard([&] {
    for (const FramePtr& frame :
         {Latest("a", "a1"), Latest("b", "b1"), Latest("a", "a2"),
          Frame::Encode(Opcode::kBinary, "plain"), Latest("b", "b2"),
          Drop("dropped by none"), Latest("a", "a3")}) {
      SendResult result{};
      transport().Send({0}, frame, &result);
      EXPECT_EQ(result, SendResult::kQueued);
    }
  });
  EXPECT_EQ(stats().messages_out_dropped_slow.value(), 3u);
  ReadJam(client, jam);
  for (const char* payload : {"plain", "b2", "dropped by none", "a3"}) {
    EXPECT_EQ(Payload(client), payload);
  }
  // Nobody is in the way of a client that keeps up.
  for (const char* payload : {"a4", "a5"}) {
    EXPECT_EQ(Send(0, Latest("a", payload)), SendResult::kQueued);
    EXPECT_EQ(Payload(client), payload);
  }
}

TEST_F(OptionsTest, TheNewestOfAKeyGetsItsPlaceInAFullOutbox) {
  Start();
  WsClient client;
  const int jam = Jam(client);
  EXPECT_EQ(Send(0, Latest("a", "older")), SendResult::kQueued);
  int queued = 0;
  while (OutboxOf(0).now <= endpoint().soft_outbox_bytes) {
    EXPECT_EQ(Send(0, Numbered(queued++, 50'000)), SendResult::kQueued);
  }
  EXPECT_EQ(Send(0, Latest("b", "other")), SendResult::kDropped);
  EXPECT_EQ(Send(0, Latest("a", "it is too long")), SendResult::kDropped);
  EXPECT_EQ(Send(0, Latest("a", "newer")), SendResult::kQueued);
  ReadJam(client, jam);
  for (int i = 0; i < queued; ++i) {
    ASSERT_EQ(Payload(client), NumberedPayload(i, 50'000));
  }
  EXPECT_EQ(Payload(client), "newer");
}

TEST_F(OptionsTest, WhatIsOverIsTakenOut) {
  Start();
  WsClient client;
  const int jam = Jam(client);
  const uint64_t before = OutboxOf(0).now;
  MessageOptions options;
  options.expires_at = In(milliseconds(0));
  EXPECT_EQ(Send(0, With("too late", options)), SendResult::kExpired);
  options.expires_at = In(milliseconds(100));
  EXPECT_EQ(Send(0, With(std::string(30'000, 'x'), options)),
            SendResult::kQueued);
  options.expires_at = In(kLong);
  EXPECT_EQ(Send(0, With("in time", options)), SendResult::kQueued);
  EXPECT_TRUE(
      WaitFor([&] { return stats().messages_out_expired.value() == 1; }));
  EXPECT_LT(OutboxOf(0).now, before + 99);
  EXPECT_EQ(stats().outbox_bytes.value(),
            static_cast<int64_t>(OutboxOf(0).now));
  ReadJam(client, jam);
  EXPECT_EQ(Payload(client), "in time");
}

TEST_F(OptionsTest, WhoIsRidOfWhatIsOverIsNotSlow) {
  endpoint().soft_outbox_bytes = 500'000;  // more than Jam takes
  Start();
  WsClient client;
  Jam(client);
  MessageOptions options;
  options.expires_at = In(milliseconds(100));
  OnShard([&] {
    for (int i = 0; i < 10; ++i) {
      SendResult result{};
      transport().Send({0}, With(std::string(50'000, 'x'), options), &result);
      EXPECT_EQ(result, SendResult::kQueued);
    }
    EXPECT_EQ(stats().slow_connections.value(), 1);
  });
  EXPECT_TRUE(WaitFor([&] { return stats().slow_connections.value() == 0; }));
}

TEST_F(OptionsTest, TheEndOfAMessageIsTold) {
  Start();
  WsClient client;
  Admit(client);
  EXPECT_EQ(Track("read", kLong).get(), SendOutcome::kWritten);
  EXPECT_EQ(Payload(client), "read");
}

TEST_F(OptionsTest, TheEndsAtASlowClientAreTold) {
  Start();
  WsClient client;
  const int jam = Jam(client);
  auto written = Track("read", kLong);
  EXPECT_EQ(Track("x", milliseconds(50)).get(), SendOutcome::kExpired);
  ReadJam(client, jam);
  EXPECT_EQ(Payload(client), "read");
  EXPECT_EQ(written.get(), SendOutcome::kWritten);
}

TEST_F(OptionsTest, WhoWaitsForWhatHasBegunWaitsNoLonger) {
  Start();
  WsClient client;
  client.SetReceiveBuffer(4096);
  Admit(client);
  const std::string payload(2'000'000, 'x');
  EXPECT_EQ(Track(payload, milliseconds(100)).get(), SendOutcome::kExpired);
  EXPECT_EQ(stats().messages_out_expired.value(), 0u);
  EXPECT_EQ(Send(0, Numbered(0, 10)), SendResult::kQueued);
  EXPECT_EQ(Payload(client), payload);
  EXPECT_EQ(Payload(client), NumberedPayload(0, 10));
}

TEST_F(OptionsTest, TheEndsAtAClosedConnectionAreTold) {
  Start();
  WsClient client;
  Jam(client);
  auto gone = Track("x", kLong);
  Close(0, CloseCode::kRemoved);
  EXPECT_EQ(gone.get(), SendOutcome::kGone);
}

TEST_F(OptionsTest, TheEndsAtADeadConnectionAreTold) {
  Start();
  WsClient client;
  Jam(client);
  auto gone = Track("x", kLong);
  client.Reset();
  EXPECT_EQ(gone.get(), SendOutcome::kGone);
}

TEST_F(OptionsTest, TheEndsInADrainAreTold) {
  Start();
  WsClient client;
  const int jam = Jam(client);
  auto expired = Track("x", milliseconds(200));
  auto written = Track("read", kLong);
  Close(0, CloseCode::kRemoved, absl::Seconds(30));
  EXPECT_EQ(expired.get(), SendOutcome::kExpired);
  ReadJam(client, jam);
  EXPECT_EQ(Payload(client), "read");
  EXPECT_EQ(written.get(), SendOutcome::kWritten);
  EXPECT_EQ(client.WaitClosed().code, 1000);
}

// Everything at once, at clients that read slowly: each gets, in order, what is
// said to have been written, and nothing else that had not begun in time.
TEST_F(OptionsTest, WhatIsWrittenArrivesInOrderAndNothingElse) {
  constexpr Slot kClients = 4;
  endpoint().soft_outbox_bytes = 400'000;
  endpoint().max_outbox_bytes = 64 << 20;
  Start();
  std::mt19937 random(11);
  std::vector<std::unique_ptr<WsClient>> clients;
  for (Slot i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<WsClient>());
    clients.back()->SetReceiveBuffer(4096);
    Admit(*clients.back(), absl::StrCat("a", i));
  }
  struct Sent {
    std::string payload;
    SendOutcome outcome = SendOutcome::kQueued;
  };
  std::vector<std::vector<std::shared_ptr<Sent>>> sent(kClients);
  std::map<SendOutcome, int> ends;
  const auto send = [&](Slot slot, int number) {
    auto message = std::make_shared<Sent>();
    message->payload =
        NumberedPayload(number, 10 + random() % (random() % 8 ? 99 : 60'000));
    MessageOptions options;
    FramePtr frame = Frame::Encode(Opcode::kBinary, message->payload);
    const bool plain = random() % 4 == 0;
    if (!plain) {
      options.expires_at =
          In(random() % 2 ? milliseconds(random() % 80) : kLong);
      options.slow_policy = static_cast<SlowPolicy>(random() % 3);
      if (options.slow_policy == SlowPolicy::kLatest) {
        options.conflation_key = absl::StrCat(random() % 4);
      }
      options.tracker = std::make_shared<OutcomeTracker>(false);
      options.tracker->Await(1, [&ends, message](const auto& e) {
        message->outcome = e.written   ? SendOutcome::kWritten
                           : e.expired ? SendOutcome::kExpired
                           : e.gone    ? SendOutcome::kGone
                                       : SendOutcome::kDroppedSlow;
        ++ends[message->outcome];
      });
      frame = With(message->payload, options);
    }
    SendResult result{};
    transport().Send({slot}, frame, &result);
    if (result != SendResult::kQueued) return;
    if (plain) message->outcome = SendOutcome::kWritten;
    sent[slot].push_back(message);
  };
  const auto read = [&](Slot slot, std::vector<std::string>& received) {
    received.push_back(Payload(*clients[slot]));
    return received.back() != "the end" && received.back() != "nothing came";
  };
  std::vector<std::vector<std::string>> received(kClients);
  int number = 0;
  for (int turn = 0; turn < 300; ++turn) {
    OnShard([&] {
      for (size_t i = 0; i < 1 + random() % 8; ++i) {
        send(static_cast<Slot>(random() % kClients), number++);
      }
    });
    const Slot reader = random() % kClients;
    if (turn > 100 && OutboxOf(reader).now > 0) read(reader, received[reader]);
  }
  for (Slot slot = 0; slot < kClients; ++slot) {
    Send(slot, Frame::Encode(Opcode::kBinary, "the end"));
    while (read(slot, received[slot])) {
    }
    received[slot].pop_back();
  }
  OnShard([&] {
    for (Slot slot = 0; slot < kClients; ++slot) {
      size_t next = 0;
      for (const auto& message : sent[slot]) {
        EXPECT_NE(message->outcome, SendOutcome::kQueued);
        const bool came = next < received[slot].size() &&
                          received[slot][next] == message->payload;
        next += came;
        // One that has begun is finished, also when its time is over.
        EXPECT_TRUE(came ? message->outcome == SendOutcome::kWritten ||
                               message->outcome == SendOutcome::kExpired
                         : message->outcome != SendOutcome::kWritten);
      }
      EXPECT_EQ(next, received[slot].size());
    }
    for (const auto outcome : {SendOutcome::kWritten, SendOutcome::kExpired,
                               SendOutcome::kDroppedSlow}) {
      EXPECT_GT(ends[outcome], 0) << static_cast<int>(outcome);
    }
  });
}

}  // namespace
}  // namespace broker::testing
