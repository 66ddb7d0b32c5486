// Open connections over real sockets: messages, protocol errors, pings.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

using How = WsEnd::How;

class ConnectionTest : public WsFixture {
 protected:
  void SetUp() override { settings_.limits.ping_interval = {}; }

  // A request whose error reply proves that it arrived as it was sent.
  static std::string Request(absl::string_view id) {
    return absl::StrCat(R"({"jsonrpc":"2.0","method":"m","id":")", id, "\"}");
  }
  static bool IsReplyTo(absl::string_view id,
                        const std::optional<WsMessage>& message) {
    return message && message->opcode == WsClient::kText &&
           message->payload.find(absl::StrCat("\"", id, "\"")) !=
               std::string::npos;
  }
  // What the server closes with when the client sends these bytes.
  std::optional<uint16_t> ClosedBy(const std::string& bytes) {
    WsClient client;
    Admit(client);
    EXPECT_TRUE(client.SendRaw(bytes));
    const WsEnd end = client.WaitClosed();
    EXPECT_EQ(end.how, How::kEof);
    EXPECT_EQ(end.close_frames, 1);
    return end.code;
  }
};

TEST_F(ConnectionTest, MessagesArriveWhole) {
  Start();
  WsClient client;
  Admit(client);
  for (const size_t size :
       {0, 1, 125, 126, 255, 256, 257, 65'535, 65'536, 1'000'000}) {
    const std::string id(size, 'i');
    ASSERT_TRUE(client.SendText(Request(id)));
    ASSERT_TRUE(IsReplyTo(id, client.Read())) << size;
  }
}

TEST_F(ConnectionTest, FragmentsAreJoinedAndPingsMayComeBetween) {
  Start();
  WsClient client;
  Admit(client);
  const std::string text = Request("h\u00e9llo");
  const size_t cut = text.find('\xc3') + 1;  // inside the code point
  client.SendFrame(WsClient::kText, text.substr(0, cut), false);
  client.SendFrame(WsClient::kPing, "between");
  client.SendFrame(WsClient::kContinuation, "", false);
  client.SendFrame(WsClient::kContinuation, text.substr(cut));
  const auto pong = client.Read();
  ASSERT_TRUE(pong.has_value());
  EXPECT_EQ(pong->opcode, WsClient::kPong);
  EXPECT_EQ(pong->payload, "between");
  EXPECT_TRUE(IsReplyTo("h\u00e9llo", client.Read()));
}

TEST_F(ConnectionTest, ProtocolErrorsAreClosedWith1002) {
  Start();
  const std::string mask(4, '\0');
  EXPECT_EQ(ClosedBy("\x81\x01"
                     "a"),
            1002);                               // not masked
  EXPECT_EQ(ClosedBy("\xc1\x80" + mask), 1002);  // RSV1
  EXPECT_EQ(ClosedBy("\x83\x80" + mask), 1002);  // opcode 3
  EXPECT_EQ(ClosedBy("\x80\x80" + mask), 1002);  // nothing to continue
  EXPECT_EQ(ClosedBy("\x09\x80" + mask), 1002);  // half a ping
  EXPECT_EQ(ClosedBy(WsClient::Encode(9, std::string(126, 'x'))), 1002);
  EXPECT_EQ(
      ClosedBy(WsClient::Encode(1, "a", false) + WsClient::Encode(1, "b")),
      1002);
  EXPECT_EQ(ClosedBy(WsClient::Encode(8, "x")), 1002);         // half a code
  EXPECT_EQ(ClosedBy(WsClient::Encode(8, "\x03\xed")), 1002);  // 1005
  EXPECT_TRUE(WaitFor([&] { return Closes(1002) == 9; }));
}

TEST_F(ConnectionTest, BadUtf8IsClosedWith1007) {
  Start();
  EXPECT_EQ(ClosedBy(WsClient::Encode(1, "\xff")), 1007);
  EXPECT_EQ(ClosedBy(WsClient::Encode(1, "a\xc3")), 1007);
  EXPECT_EQ(ClosedBy(WsClient::Encode(1, "\xed\xa0\x80")), 1007);
  // The last code point is cut off, and the last frame is a continuation.
  for (const char* tail : {"\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xf0"}) {
    EXPECT_EQ(
        ClosedBy(WsClient::Encode(1, "a", false) + WsClient::Encode(0, tail)),
        1007);
  }
  EXPECT_TRUE(WaitFor([&] { return Closes(1007) == 7; }));
  EXPECT_EQ(stats().messages_in.value(), 0u);
}

TEST_F(ConnectionTest, TooBigIsClosedWith1009BeforeItIsRead) {
  endpoint().max_message_bytes = 1000;
  Start();
  EXPECT_EQ(ClosedBy(WsClient::Encode(2, std::string(1001, 'x'))), 1009);
  EXPECT_EQ(ClosedBy(WsClient::Encode(2, std::string(600, 'x'), false) +
                     WsClient::Encode(0, std::string(401, 'x'))),
            1009);
  const std::string announced("\x82\xff\x7f\0\0\0\0\0\0\0mask", 14);
  EXPECT_EQ(ClosedBy(announced), 1009);
  // Added to what came before it, this length would be 0 again.
  const std::string wraps(
      "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xfc"
      "mask",
      14);
  EXPECT_EQ(ClosedBy(WsClient::Encode(2, "1234", false) + wraps), 1002);
}

TEST_F(ConnectionTest, TheClientsCloseIsAnswered) {
  Start();
  WsClient client;
  Admit(client);
  ASSERT_TRUE(client.SendClose(4321, "bye"));
  const auto echo = client.Read();
  ASSERT_TRUE(echo.has_value());
  EXPECT_EQ(echo->close_code(), 4321);
  EXPECT_EQ(client.WaitClosed().how, How::kEof);
  client.Disconnect();
  EXPECT_TRUE(WaitFor([&] { return Closes(4321) == 1; }));

  WsClient without_code;
  Admit(without_code);
  ASSERT_TRUE(without_code.SendFrame(WsClient::kClose, ""));
  EXPECT_EQ(without_code.WaitClosed().code, 1000);
}

TEST_F(ConnectionTest, WithoutACloseFrameItIs1006) {
  Start();
  WsClient polite;
  Admit(polite);
  polite.Disconnect();
  WsClient rude;
  Admit(rude);
  rude.Reset();
  EXPECT_TRUE(WaitFor([&] { return Closes(1006) == 2; }));
}

TEST_F(ConnectionTest, NothingIsHandedOverBehindAClose) {
  Start();
  WsClient client;
  Admit(client);
  Close(0, CloseCode::kRevoked);
  for (int i = 0; i < 100; ++i) client.SendText(Request("x"));
  client.SendClose(1000);
  const WsEnd end = client.WaitClosed();
  EXPECT_EQ(end.code, 4001);
  EXPECT_EQ(end.close_frames, 1);
  client.Disconnect();
  EXPECT_TRUE(WaitFor([&] { return Closes(4001) == 1; }));
  EXPECT_EQ(stats().messages_in.value(), 0u);
}

TEST_F(ConnectionTest, PingFloodsAreClosedWith1008) {
  settings_.limits.max_pings_per_second = 10;
  Start();
  WsClient client;
  Admit(client);
  std::string flood;
  for (int i = 0; i < 100; ++i) flood += WsClient::Encode(9, "");
  client.SendRaw(flood);
  int pongs = 0;
  for (;;) {
    const auto message = client.Read();
    ASSERT_TRUE(message.has_value());
    if (message->opcode == WsClient::kClose) {
      EXPECT_EQ(message->close_code(), 1008);
      break;
    }
    ++pongs;
  }
  EXPECT_EQ(pongs, 10);
}

TEST_F(ConnectionTest, PongsDoNotFillTheOutbox) {
  settings_.limits.max_pings_per_second = 0;
  Start();
  WsClient client;
  client.SetReceiveBuffer(4096);
  Admit(client);
  const std::string ping = WsClient::Encode(9, std::string(125, 'p'));
  std::string pings;
  for (int i = 0; i < 1000; ++i) pings += ping;
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(client.SendRaw(pings));
  EXPECT_TRUE(WaitFor([&] { return stats().pings_in.value() == 20'000; }));
  EXPECT_LE(OutboxOf(0).peak, 65u * 1024);
}

TEST_F(ConnectionTest, IdleClientsArePinged) {
  settings_.limits.ping_interval = std::chrono::milliseconds(100);
  settings_.limits.pong_timeout = std::chrono::milliseconds(300);
  Start();
  WsClient alive;
  Admit(alive);
  WsClient dead;
  Admit(dead, "a2");
  for (int i = 0; i < 10; ++i) {
    const auto ping = alive.Read();
    ASSERT_TRUE(ping.has_value());
    ASSERT_EQ(ping->opcode, WsClient::kPing);
    ASSERT_TRUE(alive.SendFrame(WsClient::kPong, ping->payload));
  }
  EXPECT_EQ(dead.WaitClosed().code, 4003);
  EXPECT_TRUE(WaitFor([&] { return Closes(4003) == 1; }));
  EXPECT_TRUE(alive.SendText(Request("still here")));
}

TEST_F(ConnectionTest, AnyBytesAreASignOfLife) {
  settings_.limits.ping_interval = std::chrono::milliseconds(100);
  // However long a pong may take, the next ping does not wait that long.
  settings_.limits.pong_timeout = std::chrono::minutes(5);
  Start();
  WsClient client;
  Admit(client);
  for (int i = 0; i < 6; ++i) {
    const auto ping = client.Read();
    ASSERT_TRUE(ping.has_value());
    ASSERT_EQ(ping->opcode, WsClient::kPing);
    ASSERT_TRUE(client.SendText(Request("no pong")));
    ASSERT_TRUE(IsReplyTo("no pong", client.Read()));
  }
}

TEST_F(ConnectionTest, OneFrameGoesToMany) {
  Start();
  constexpr int kClients = 50;
  std::vector<std::unique_ptr<WsClient>> clients;
  std::vector<Slot> slots;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<WsClient>());
    Admit(*clients.back(), absl::StrCat("a", i));
    slots.push_back(static_cast<Slot>(i));
  }
  const FramePtr frame = Numbered(7, 40'000);
  std::vector<SendResult> results(kClients, SendResult::kGone);
  OnShard([&] { transport().Send(slots, frame, results.data()); });
  for (int i = 0; i < kClients; ++i) {
    EXPECT_EQ(results[i], SendResult::kQueued);
    const auto message = clients[i]->Read();
    ASSERT_TRUE(message.has_value());
    EXPECT_EQ(message->opcode, WsClient::kBinary);
    EXPECT_EQ(message->payload, NumberedPayload(7, 40'000));
  }
}

}  // namespace
}  // namespace broker::testing
