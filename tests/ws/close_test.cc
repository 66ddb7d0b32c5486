// Clients that do not read, and how a connection ends, over real sockets.

#include <functional>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

using How = WsEnd::How;

// What a client has for its own close frame.
constexpr std::chrono::seconds kGone{2};
// What TCP may still deliver after a close: what it had not sent yet, and what
// the two kernels hold.
constexpr uint64_t kUnsent = 64 * 1024;

class CloseTest : public WsFixture {
 protected:
  void SetUp() override { settings_.limits.ping_interval = {}; }

  // An open connection with a small receive buffer that reads nothing.
  void Stall(WsClient& client) {
    client.SetReceiveBuffer(4096);
    Admit(client);
  }
  // Closes the connection of slot 0, and counts the closes that are done that
  // time later. A timer beside the broker's own tells, for a busy machine
  // delays both alike.
  void CloseAndLookAfter(std::chrono::milliseconds time, CloseCode code,
                         absl::Duration drain_for = absl::ZeroDuration()) {
    OnShard([&] {
      transport().Close(0, code, drain_for);
      transport().timers().Arm(
          look_, Clock::System().Monotonic() + time + kGrain, [this] {
            uint64_t sum = 0;
            for (const auto& [_, count] : stats().closes.values()) sum += count;
            closes_in_time_.set_value(sum);
          });
    });
  }
  uint64_t ClosesInTime() { return closes_in_time_.get_future().get(); }

 private:
  // The broker's timers are rounded up to the grain of their wheel.
  static constexpr std::chrono::milliseconds kGrain{100};
  Timer look_;
  std::promise<uint64_t> closes_in_time_;
};

TEST_F(CloseTest, TheOutboxHasALimit) {
  endpoint().max_outbox_bytes = 1 << 20;
  Start();
  WsClient client;
  Stall(client);
  const int queued = Fill(0, 50'000);
  const auto bytes = OutboxOf(0);
  EXPECT_LE(bytes.now, 1u << 20);
  EXPECT_GT(bytes.now, (1u << 20) - 51'000);
  EXPECT_EQ(bytes.peak, bytes.now);
  OnShard([&] {
    EXPECT_EQ(stats().outbox_bytes.value(), static_cast<int64_t>(bytes.now));
  });
  // A smaller frame may still fit.
  const uint64_t room = (1u << 20) - bytes.now;
  EXPECT_EQ(Send(0, Frame::Encode(Opcode::kBinary, std::string(room, 'x'))),
            SendResult::kTooSlow);
  // All that was taken arrives, whole and in order.
  for (int i = 0; i < queued; ++i) {
    const auto message = client.Read();
    ASSERT_TRUE(message.has_value());
    ASSERT_EQ(message->payload, NumberedPayload(i, 50'000));
  }
  EXPECT_TRUE(WaitFor([&] { return transport().Outbox(0).now == 0; }));
  EXPECT_EQ(OutboxOf(0).peak, bytes.peak);
  EXPECT_EQ(Send(0, Numbered(1, 10)), SendResult::kQueued);
  EXPECT_EQ(client.Read()->payload, NumberedPayload(1, 10));
  OnShard([&] { EXPECT_EQ(stats().outbox_bytes.value(), 0); });
}

TEST_F(CloseTest, WhoStaysOverTheSoftLimitIsClosed) {
  endpoint().soft_outbox_bytes = 100'000;
  endpoint().soft_outbox_time = std::chrono::milliseconds(300);
  Start();
  WsClient client, fast;
  Stall(client);
  Admit(fast, "a2");
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(Send(0, Numbered(i, 50'000)), SendResult::kQueued);
  EXPECT_EQ(stats().slow_connections.value(), 1);
  EXPECT_GT(stats().outbox_peak_bytes.value(), 100'000);
  EXPECT_TRUE(WaitFor([&] { return Closes(4008) == 1; }));
  EXPECT_EQ(stats().slow_connections.value(), 0);
  EXPECT_EQ(Send(1, Numbered(0, 10)), SendResult::kQueued);
  EXPECT_EQ(fast.Read()->payload, NumberedPayload(0, 10));
}

TEST_F(CloseTest, WhoComesBelowTheSoftLimitIsForgiven) {
  endpoint().soft_outbox_bytes = 100'000;
  endpoint().soft_outbox_time = std::chrono::milliseconds(500);
  Start();
  WsClient client;
  Stall(client);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 20; ++i)
      EXPECT_EQ(Send(0, Numbered(i, 50'000)), SendResult::kQueued);
    EXPECT_GT(OutboxOf(0).now, 100'000u);
    EXPECT_EQ(stats().slow_connections.value(), 1);
    for (int i = 0; i < 20; ++i)
      ASSERT_EQ(client.Read()->payload, NumberedPayload(i, 50'000));
  }
  // Past the time at which it would have been closed.
  std::promise<void> later;
  Timer timer;
  OnShard([&] {
    transport().timers().Arm(
        timer, Clock::System().Monotonic() + std::chrono::milliseconds(800),
        [&] { later.set_value(); });
  });
  later.get_future().wait();
  EXPECT_EQ(Closes(4008), 0u);
  EXPECT_EQ(Send(0, Numbered(0, 10)), SendResult::kQueued);
  EXPECT_EQ(client.Read()->payload, NumberedPayload(0, 10));
}

TEST_F(CloseTest, AFrameOverTheLimitIsNotSentInPart) {
  endpoint().max_outbox_bytes = 10'000;
  Start();
  WsClient client;
  Admit(client);
  EXPECT_EQ(Send(0, Numbered(0, 10'000)), SendResult::kTooSlow);
  EXPECT_EQ(Send(0, Numbered(1, 9'000)), SendResult::kQueued);
  EXPECT_EQ(client.Read()->payload, NumberedPayload(1, 9'000));
}

TEST_F(CloseTest, MixedSizesArriveInOrderAtASlowReader) {
  Start();
  WsClient client;
  Stall(client);
  std::vector<size_t> sizes;
  size_t received = 0;
  int pongs = 0;
  const auto read_one = [&] {
    const auto message = client.Read();
    ASSERT_TRUE(message.has_value());
    if (message->opcode == WsClient::kPong) {
      ++pongs;
    } else {
      ASSERT_EQ(message->payload,
                NumberedPayload(static_cast<int>(received), sizes[received]));
      ++received;
    }
  };
  for (int round = 0; round < 5; ++round) {
    OnShard([&] {
      for (int i = 0; i < 40; ++i) {
        SendResult result{};
        const size_t size = i % 10 == 0 ? 50'000 + i : 20 + i * 7;
        transport().Send({0}, Numbered(static_cast<int>(sizes.size()), size),
                         &result);
        ASSERT_EQ(result, SendResult::kQueued);
        sizes.push_back(size);
      }
    });
    client.SendFrame(WsClient::kPing, "");
    for (int i = 0; i < 20 && !HasFailure(); ++i) read_one();
  }
  while (received < sizes.size() && !HasFailure()) read_one();
  // With the queue read up, this ping is answered for certain.
  client.SendFrame(WsClient::kPing, "");
  while (pongs == 0 && !HasFailure()) read_one();
  EXPECT_GT(pongs, 0);
}

TEST_F(CloseTest, AQueueIsDroppedAtAClose) {
  endpoint().max_outbox_bytes = 20 << 20;
  Start();
  WsClient client;
  Stall(client);
  const int queued = Fill(0, 1'000'000);
  EXPECT_GE(queued, 19);
  CloseAndLookAfter(kGone, CloseCode::kRevoked);
  EXPECT_LE(OutboxOf(0).now, Frame::kFragmentPayload + 200);
  OnShard([&] { EXPECT_LE(stats().outbox_bytes.value(), 17'000); });
  EXPECT_EQ(Send(0, Numbered(0, 10)), SendResult::kGone);
  const WsEnd end = client.WaitClosed();
  EXPECT_EQ(end.code, 4001);
  EXPECT_EQ(end.close_frames, 1);
  // The rest of a fragment and what the kernels had: far from 20 MB.
  EXPECT_LE(end.bytes, kUnsent + 200'000);
  EXPECT_EQ(ClosesInTime(), 1u);
}

TEST_F(CloseTest, WhoReadsNothingIsReset) {
  Start();
  WsClient client;
  Stall(client);
  Fill(0, 100'000);
  CloseAndLookAfter(kGone, CloseCode::kSlowConsumer);
  EXPECT_TRUE(client.WaitReset(kPatience));
  EXPECT_EQ(ClosesInTime(), 1u);
  OnShard([&] { EXPECT_EQ(stats().outbox_bytes.value(), 0); });
}

TEST_F(CloseTest, WhoNeverAnswersIsGone) {
  Start();
  WsClient client;
  Admit(client);
  CloseAndLookAfter(kGone, CloseCode::kRevoked);
  const auto close = client.Read();
  ASSERT_TRUE(close.has_value());
  EXPECT_EQ(close->close_code(), 4001);
  EXPECT_EQ(close->close_reason(), "Session revoked");
  EXPECT_EQ(ClosesInTime(), 1u);
}

TEST_F(CloseTest, WhoAnswersIsGoneAtOnce) {
  Start();
  WsClient client;
  Admit(client);
  Close(0, CloseCode::kRemoved);
  ASSERT_EQ(client.Read()->close_code(), 1000);
  client.SendClose(1000);
  EXPECT_EQ(client.WaitClosed().how, How::kEof);
  client.Disconnect();
  EXPECT_TRUE(WaitFor([&] { return Closes(1000) == 1; }));
}

TEST_F(CloseTest, OneCloseFrameWhateverTheAnswer) {
  Start();
  const std::string answers[] = {
      WsClient::Encode(WsClient::kClose, ""),
      WsClient::Encode(WsClient::kClose, "x"),             // half a code
      WsClient::Encode(WsClient::kClose, "\x03\xed"),      // 1005, reserved
      WsClient::Encode(WsClient::kClose, "\x03\xe8\xff"),  // not UTF-8
      WsClient::Encode(3, ""),                             // no such opcode
  };
  uint64_t gone = 0;
  for (const std::string& answer : answers) {
    WsClient client;
    Admit(client);
    Close(0, CloseCode::kRevoked);
    client.SendRaw(answer);
    const WsEnd end = client.WaitClosed();
    EXPECT_EQ(end.how, How::kEof);
    EXPECT_EQ(end.code, 4001);
    EXPECT_EQ(end.close_frames, 1);
    client.Disconnect();
    ++gone;
    EXPECT_TRUE(WaitFor([&] { return Closes(4001) == gone; }));
  }
}

TEST_F(CloseTest, ADrainWritesWhatWasQueued) {
  Start();
  WsClient client;
  Stall(client);
  const int queued = Fill(0, 100'000);
  Close(0, CloseCode::kRemoved, absl::Seconds(5));
  EXPECT_EQ(Send(0, Numbered(0, 10)), SendResult::kGone);
  client.SendText(R"({"jsonrpc":"2.0","method":"m"})");
  for (int i = 0; i < queued; ++i) {
    const auto message = client.Read();
    ASSERT_TRUE(message.has_value());
    ASSERT_EQ(message->payload, NumberedPayload(i, 100'000));
  }
  const WsEnd end = client.WaitClosed();
  EXPECT_EQ(end.code, 1000);
  EXPECT_EQ(end.close_frames, 1);
  EXPECT_EQ(stats().messages_in.value(), 0u);
}

TEST_F(CloseTest, ADrainEndsInTime) {
  Start();
  WsClient client;
  Stall(client);
  Fill(0, 100'000);
  CloseAndLookAfter(kGone + std::chrono::milliseconds(500), CloseCode::kRemoved,
                    absl::Milliseconds(500));
  EXPECT_EQ(ClosesInTime(), 1u);
}

TEST_F(CloseTest, ASecondCloseCutsADrain) {
  Start();
  WsClient client;
  Stall(client);
  Fill(0, 100'000);
  Close(0, CloseCode::kRemoved, absl::Seconds(5));
  Close(0, CloseCode::kRevoked, absl::Seconds(60));  // cannot lengthen it
  EXPECT_GT(OutboxOf(0).now, 1'000'000u);
  CloseAndLookAfter(kGone, CloseCode::kRevoked);
  EXPECT_LE(OutboxOf(0).now, Frame::kFragmentPayload + 200);
  const WsEnd end = client.WaitClosed();
  EXPECT_EQ(end.code, 1000);  // the first one's
  EXPECT_EQ(end.close_frames, 1);
  EXPECT_EQ(ClosesInTime(), 1u);
}

TEST_F(CloseTest, AClientMayCloseDuringADrain) {
  Start();
  WsClient client;
  Stall(client);
  Fill(0, 100'000);
  Close(0, CloseCode::kRemoved, absl::Seconds(5));
  client.SendClose(4321);
  const WsEnd end = client.WaitClosed();
  EXPECT_EQ(end.close_frames, 1);
  EXPECT_TRUE(end.code == 4321 || end.code == 1000);
}

// The time, and what is to happen when somebody asks for it.
class TrapClock final : public Clock {
 public:
  absl::Time Now() const override {
    if (trap) std::exchange(trap, nullptr)();
    return Clock::System().Now();
  }
  MonotonicTime Monotonic() const override {
    return Clock::System().Monotonic();
  }
  mutable std::function<void()> trap;
};

TEST_F(CloseTest, ACloseWithinOnOpenComesBehindThe101) {
  TrapClock clock;
  clock_ = &clock;
  Start();
  // OnOpen asks for the time, then whether the broker is draining.
  clock.trap = [this] { hub_->Drain(absl::ZeroDuration(), [] {}); };
  WsClient client;
  ASSERT_EQ(client.Handshake(port()).status, 101);
  const WsEnd end = client.WaitClosed();
  EXPECT_EQ(end.code, 1001);
  EXPECT_EQ(end.close_frames, 1);
  server_->Stop();
  hub_.reset();  // before the clock
}

TEST_F(CloseTest, ADeadSocketIsGoneExactlyOnce) {
  Start();
  WsClient client;
  Admit(client);
  OnShard([&] {
    client.Reset();
    SendResult result = SendResult::kQueued;
    // The RST may be a moment on its way.
    for (int i = 0; i < 100'000 && result == SendResult::kQueued; ++i) {
      transport().Send({0}, Numbered(0, 10), &result);
    }
    EXPECT_EQ(result, SendResult::kGone);
    transport().Close(0, CloseCode::kRemoved, absl::ZeroDuration());
  });
  EXPECT_TRUE(WaitFor([&] { return stats().closes.values().size() == 1; }));
  EXPECT_EQ(stats().outbox_bytes.value(), 0);
}

TEST_F(CloseTest, SlotsAreUsedAgain) {
  Start();
  for (int i = 0; i < 10; ++i) {
    WsClient client;
    Admit(client);
    EXPECT_EQ(Send(0, Numbered(i, 10)), SendResult::kQueued);
    EXPECT_EQ(client.Read()->payload, NumberedPayload(i, 10));
    client.SendClose(1000);
    client.WaitClosed();
    client.Disconnect();
    ASSERT_TRUE(
        WaitFor([&] { return Closes(1000) == static_cast<uint64_t>(i + 1); }));
  }
}

}  // namespace
}  // namespace broker::testing
