// Handshakes over real sockets.

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

using How = WsEnd::How;

class HandshakeTest : public WsFixture {
 protected:
  UpgradeRequest Request(absl::string_view name, absl::string_view value) {
    UpgradeRequest request;
    request.headers.emplace_back(name, value);
    return request;
  }
  HttpResponse Ask(const UpgradeRequest& request) {
    WsClient client;
    HttpResponse response = client.Handshake(port(), request);
    if (response.status != 101) {
      EXPECT_EQ(client.WaitClosed().how, How::kEof);
    }
    return response;
  }
  HttpResponse AskRaw(const std::string& text) {
    WsClient client;
    EXPECT_TRUE(client.Connect(port()));
    client.SendRaw(text);
    HttpResponse response = client.ReadResponse();
    EXPECT_EQ(client.WaitClosed().how, How::kEof);
    return response;
  }
};

TEST_F(HandshakeTest, OpensAsTheStandardSays) {
  Start();
  const HttpResponse response = Ask({});
  EXPECT_EQ(response.status, 101);
  EXPECT_EQ(response.Header("Sec-WebSocket-Accept"),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  EXPECT_EQ(response.Header("Upgrade"), "websocket");
  EXPECT_EQ(response.Header("Connection"), "Upgrade");
  for (const char* absent : {"Server", "Sec-WebSocket-Protocol",
                             "Sec-WebSocket-Extensions", "Content-Length"}) {
    EXPECT_FALSE(response.HasHeader(absent)) << absent;
  }
}

TEST_F(HandshakeTest, TakesTicketsInBothForms) {
  endpoint().allow_pending = false;
  Start();
  UpgradeRequest request;
  request.protocols = {"socketbroker.v1"};
  request.ticket = Mint("a1");
  const HttpResponse response = Ask(request);
  EXPECT_EQ(response.status, 101);
  EXPECT_EQ(response.Header("Sec-WebSocket-Protocol"), "socketbroker.v1");

  request = {};
  request.protocols = {"other"};
  request.path = absl::StrCat("/ws?a=b&ticket=", Mint("a1"));
  EXPECT_FALSE(Ask(request).HasHeader("Sec-WebSocket-Protocol"));
  EXPECT_TRUE(WaitFor([&] { return Handshakes(101) == 2; }));
}

TEST_F(HandshakeTest, RefusesEveryBadTicketAlike) {
  endpoint().allow_pending = false;
  Start();
  UpgradeRequest used;
  used.ticket = Mint("a1");
  EXPECT_EQ(Ask(used).status, 101);
  UpgradeRequest unknown;
  unknown.ticket = "unknown";
  UpgradeRequest empty;
  empty.path = "/ws?ticket=";
  std::vector<HttpResponse> answers = {Ask(used), Ask(unknown), Ask(empty),
                                       Ask({})};
  for (const HttpResponse& answer : answers) {
    EXPECT_EQ(answer.status, 401);
    EXPECT_EQ(answer.headers, answers[0].headers);
    EXPECT_EQ(answer.body, answers[0].body);
  }
}

TEST_F(HandshakeTest, RefusesWithTheRightStatus) {
  Start();
  const HttpResponse plain = AskRaw("GET /ws HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(plain.status, 426);
  EXPECT_EQ(plain.Header("Upgrade"), "websocket");
  EXPECT_EQ(plain.Header("Sec-WebSocket-Version"), "13");
  EXPECT_EQ(plain.Header("Content-Type"), "text/plain");
  EXPECT_FALSE(plain.HasHeader("Server"));
  const HttpResponse version = Ask(Request("Sec-WebSocket-Version", "8"));
  EXPECT_EQ(version.status, 426);
  EXPECT_EQ(version.Header("Sec-WebSocket-Version"), "13");
  EXPECT_EQ(Ask(Request("Sec-WebSocket-Key", "short")).status, 400);
  EXPECT_EQ(Ask(Request("Content-Length", "4")).status, 413);
  EXPECT_EQ(Ask(Request("Origin", "https://evil.example")).status, 403);
  UpgradeRequest nowhere;
  nowhere.path = "/nowhere";
  EXPECT_EQ(Ask(nowhere).status, 404);
  const HttpResponse post = AskRaw("POST /ws HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(post.status, 405);
  EXPECT_EQ(post.Header("Allow"), "GET");
  EXPECT_EQ(AskRaw("GET /ws HTTP/1.0\r\n\r\n").status, 505);
  EXPECT_EQ(AskRaw("\x16\x03\x01 hello").status, 400);
  EXPECT_TRUE(WaitFor([&] {
    return Handshakes(426) == 2 && Handshakes(400) == 2 && Handshakes(101) == 0;
  }));
}

TEST_F(HandshakeTest, RefusesWithStatusOverTheCaps) {
  settings_.limits.max_connections = 1;
  Start();
  WsClient first;
  EXPECT_EQ(first.Handshake(port()).status, 101);
  const HttpResponse refused = Ask({});
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.Header("Retry-After"), "5");
  first.Disconnect();
  EXPECT_TRUE(
      WaitFor([&] { return hub_->shards()[0]->caps().sockets() == 0; }));
  EXPECT_EQ(Ask({}).status, 101);
}

TEST_F(HandshakeTest, RefusesOverTheCapsHoweverTheRequestComes) {
  settings_.limits.max_connections = 1;
  Start();
  WsClient first;
  EXPECT_EQ(first.Handshake(port()).status, 101);
  // In pieces, of which the last comes when the first was read long ago.
  WsClient slow;
  ASSERT_TRUE(slow.Connect(port()));
  const std::string request = UpgradeRequest{}.Encode();
  slow.SendRaw(request.substr(0, 20));
  EXPECT_TRUE(
      WaitFor([&] { return hub_->shards()[0]->caps().sockets() == 2; }));
  slow.SendRaw(request.substr(20));
  EXPECT_EQ(slow.ReadResponse().status, 503);
  // What is wrong with a request is said first.
  UpgradeRequest nowhere;
  nowhere.path = "/nowhere";
  EXPECT_EQ(Ask(nowhere).status, 404);
  EXPECT_EQ(AskRaw("\x16\x03\x01 hello").status, 400);
  // More than a batch, all with their requests there.
  std::vector<std::unique_ptr<WsClient>> many;
  const auto knock = [&] {
    for (int i = 0; i < 100; ++i) {
      many.push_back(std::make_unique<WsClient>());
      EXPECT_TRUE(many.back()->Connect(port()));
      many.back()->SendRaw(request);
    }
  };
  // TLS cannot be done while the shard waits.
  tls_ == nullptr ? OnShard(knock) : knock();
  for (const auto& client : many) {
    EXPECT_EQ(client->ReadResponse().status, 503);
    EXPECT_EQ(client->WaitClosed().how, WsEnd::How::kEof);
  }
  EXPECT_TRUE(
      WaitFor([&] { return hub_->shards()[0]->caps().sockets() <= 2; }));
}

TEST_F(HandshakeTest, CutsOffWhoIsBeyondTheHeadroom) {
  settings_.limits.max_connections = 1;
  Start();
  std::vector<std::unique_ptr<WsClient>> clients;
  for (uint64_t i = 0; i < 1 + Caps::kRefusalHeadroom; ++i) {
    clients.push_back(std::make_unique<WsClient>());
    ASSERT_TRUE(clients.back()->Connect(port()));
  }
  WsClient beyond;
  EXPECT_EQ(beyond.Handshake(port()).status, 0);
  EXPECT_TRUE(
      WaitFor([&] { return stats().sockets_turned_away.value() == 1; }));
}

TEST_F(HandshakeTest, LimitsTheHead) {
  settings_.limits.max_header_bytes = 1000;
  Start();
  UpgradeRequest request = Request("X-Filler", "");
  request.headers[0].second.resize(1000 - request.Encode().size(), 'x');
  EXPECT_EQ(Ask(request).status, 101);
  request.headers[0].second += 'x';
  EXPECT_EQ(Ask(request).status, 431);
  EXPECT_EQ(AskRaw(std::string(200'000, 'x')).status, 431);
}

TEST_F(HandshakeTest, TakesTheHeadByteByByte) {
  Start();
  WsClient client;
  ASSERT_TRUE(client.Connect(port()));
  for (const char c : UpgradeRequest().Encode()) {
    ASSERT_TRUE(client.SendRaw(absl::string_view(&c, 1)));
  }
  EXPECT_EQ(client.ReadResponse().status, 101);
}

TEST_F(HandshakeTest, KeepsFramesBehindTheHeadInOrder) {
  Start();
  std::string bytes;
  UpgradeRequest request;
  request.ticket = Mint("a1");
  bytes = request.Encode();
  constexpr int kRequests = 3'000;  // more than one read
  for (int i = 0; i < kRequests; ++i) {
    absl::StrAppend(
        &bytes,
        WsClient::Encode(
            WsClient::kText,
            absl::StrCat(R"({"jsonrpc":"2.0","method":"m","id":)", i, "}")));
  }
  WsClient client;
  ASSERT_TRUE(client.Connect(port()));
  ASSERT_TRUE(client.SendRaw(bytes));
  ASSERT_EQ(client.ReadResponse().status, 101);
  for (int i = 0; i < kRequests; ++i) {
    const auto reply = client.Read();
    ASSERT_TRUE(reply.has_value());
    ASSERT_NE(reply->payload.find(absl::StrCat("\"id\":", i)),
              std::string::npos)
        << reply->payload;
  }
}

TEST_F(HandshakeTest, EndsSlowOnes) {
  settings_.limits.handshake_timeout = std::chrono::milliseconds(200);
  Start();
  WsClient silent;
  ASSERT_TRUE(silent.Connect(port()));
  WsClient slow;
  ASSERT_TRUE(slow.Connect(port()));
  const auto start = Time::now();
  ASSERT_TRUE(slow.SendRaw("GET /ws HT"));
  EXPECT_NE(silent.WaitClosed().how, How::kTimeout);
  EXPECT_NE(slow.WaitClosed().how, How::kTimeout);
  EXPECT_GE(Time::now() - start, std::chrono::milliseconds(150));
  EXPECT_TRUE(WaitFor([&] {
    return stats().handshake_timeouts.value() == 2 && Handshakes(0) == 2;
  }));
}

TEST_F(HandshakeTest, SurvivesBareConnects) {
  Start();
  for (int i = 0; i < 20; ++i) {
    WsClient client;
    ASSERT_TRUE(client.Connect(port()));
    if (i % 2 == 0) client.SendRaw("GET");
    if (i % 4 < 2) client.Reset();
  }
  EXPECT_TRUE(WaitFor([&] { return Handshakes(0) == 20; }));
  EXPECT_EQ(Ask({}).status, 101);
}

TEST_F(HandshakeTest, RefusalsReachWhoKeepsSending) {
  Start();
  WsClient client;
  ASSERT_TRUE(client.Connect(port()));
  client.SendRaw(absl::StrCat("POST /ws HTTP/1.1\r\nHost: a\r\n\r\n",
                              std::string(1'000'000, 'x')));
  EXPECT_EQ(client.ReadResponse().status, 405);
}

TEST_F(HandshakeTest, ARefusedClientThatStaysIsReset) {
  Start();
  WsClient client;
  ASSERT_TRUE(client.Connect(port()));
  client.SendRaw("POST /ws HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(client.WaitReset(kPatience));
}

TEST_F(HandshakeTest, RevokedTicketsAreRefused) {
  Start();
  UpgradeRequest request;
  request.ticket = Mint("a1");
  RevokeCommand command;
  command.target.kind = RevocationTarget::Kind::kAccount;
  command.target.key = "a1";
  std::promise<void> revoked;
  hub_->Revoke(std::move(command), [&](absl::StatusOr<RevokeResult> result) {
    EXPECT_TRUE(result.ok());
    revoked.set_value();
  });
  revoked.get_future().wait();
  EXPECT_EQ(Ask(request).status, 401);
}

}  // namespace
}  // namespace broker::testing
