// Clients that go on sending after their close, over real sockets.

#include <string>

#include "gtest/gtest.h"
#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

// What is still read of who is being closed, beside a message: a MiB, and the
// rest of the last read.
constexpr uint64_t kMostDropped = 2'000'000;

class ClosingFloodTest : public WsFixture {
 protected:
  // Sends until it is reset. Returns how much of that was read.
  uint64_t Flood(WsClient& client) {
    const uint64_t before = stats().bytes_in.value();
    const std::string frame = WsClient::Encode(2, std::string(100'000, 'x'));
    uint64_t sent = 0;
    while (client.SendRaw(frame)) sent += frame.size();
    const uint64_t read = stats().bytes_in.value() - before;
    EXPECT_GT(sent, read);
    return read;
  }
};

TEST_F(ClosingFloodTest, TerminalCodesReachWhoKeepsSending) {
  Start();
  WsClient client;
  Admit(client);
  Close(0, CloseCode::kPolicy);
  for (int i = 0; i < 20; ++i) client.SendBinary(std::string(100'000, 'x'));
  const auto close = client.Read();
  ASSERT_TRUE(close.has_value());
  EXPECT_EQ(close->close_code(), 1008);
}

TEST_F(ClosingFloodTest, WhoFloodsAfterItsCloseIsNotReadForLong) {
  Start();
  WsClient client;
  Admit(client);
  Close(0, CloseCode::kPolicy);
  const uint64_t read = Flood(client);
  EXPECT_GT(read, endpoint().max_message_bytes);
  EXPECT_LE(read, endpoint().max_message_bytes + kMostDropped);
  EXPECT_EQ(client.WaitClosed().code, 1008);
}

TEST_F(ClosingFloodTest, WhoFloodsInADrainIsNotReadForLong) {
  Start();
  WsClient client;
  client.SetReceiveBuffer(4096);
  Admit(client);
  Fill(0, 100'000);
  Close(0, CloseCode::kRemoved, absl::Milliseconds(500));
  EXPECT_LE(Flood(client), endpoint().max_message_bytes + kMostDropped);
}

}  // namespace
}  // namespace broker::testing
