// Upgrade requests, as text: which are proper, what they say, and how the
// others are refused.

#include <string>
#include <variant>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "broker/ws/frame_lengths.h"
#include "broker/ws/handshake.h"
#include "gtest/gtest.h"
#include "tests/fakes/ws_client.h"

namespace broker {
namespace {

using testing::UpgradeRequest;
using testing::WsClient;

UpgradeRequest With(absl::string_view name, absl::string_view value) {
  UpgradeRequest request;
  request.headers.emplace_back(name, value);
  return request;
}

int StatusOf(const std::string& head) {
  const auto result = ReadHead(head);
  const Refusal* refusal = std::get_if<Refusal>(&result);
  return refusal == nullptr ? 101 : refusal->status;
}
int StatusOf(const UpgradeRequest& request) {
  return StatusOf(request.Encode());
}

Upgrade Read(const UpgradeRequest& request) {
  auto result = ReadHead(request.Encode());
  EXPECT_TRUE(std::holds_alternative<Upgrade>(result)) << request.Encode();
  return std::holds_alternative<Upgrade>(result)
             ? std::get<Upgrade>(std::move(result))
             : Upgrade();
}

std::string Replaced(absl::string_view from, absl::string_view to) {
  return absl::StrReplaceAll(UpgradeRequest().Encode(), {{from, to}});
}

TEST(HeadTest, AProperOneSaysWhatItSays) {
  UpgradeRequest request = With("Origin", " https://a.example\t");
  request.path = "/chat?x=1&y=%41";
  const Upgrade upgrade = Read(request);
  EXPECT_EQ(upgrade.facts.path, "/chat");
  EXPECT_EQ(upgrade.facts.query, "x=1&y=%41");
  EXPECT_EQ(upgrade.facts.origin, "https://a.example");
  EXPECT_EQ(upgrade.facts.ticket, std::nullopt);
  EXPECT_EQ(upgrade.key, "dGhlIHNhbXBsZSBub25jZQ==");
  EXPECT_FALSE(upgrade.subprotocol);
}

TEST(HeadTest, NamesAndTokensHaveNoCase) {
  EXPECT_EQ(StatusOf(Replaced("Upgrade: websocket\r\nConnection: Upgrade",
                              "uPGRADE: h2c, WebSocket\r\n"
                              "connection: keep-alive, UPGRADE")),
            101);
}

TEST(HeadTest, WhatIsNoUpgradeIsToldSo) {
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 426);
  EXPECT_EQ(StatusOf(With("Connection", "keep-alive")), 426);
  EXPECT_EQ(StatusOf(With("Upgrade", "websockets")), 426);
  for (const char* version :
       {"7", "8", "0", "14", "13x", "013", "13, 13", ""}) {
    EXPECT_EQ(StatusOf(With("Sec-WebSocket-Version", version)), 426) << version;
  }
  EXPECT_EQ(StatusOf(Replaced("Sec-WebSocket-Version: 13\r\n", "")), 426);
}

TEST(HeadTest, OnlyGetAndHttp11) {
  for (const char* method : {"POST", "HEAD", "get", "OPTIONS"}) {
    EXPECT_EQ(StatusOf(Replaced("GET", method)), 405) << method;
  }
  for (const char* version : {"HTTP/1.0", "HTTP/2.0", "HTTP/1.1x"}) {
    EXPECT_EQ(StatusOf(Replaced("HTTP/1.1", version)), 505) << version;
  }
}

TEST(HeadTest, KeysAreSixteenBytes) {
  for (const char* key :
       {"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZR==", "dGhlIHNhbXBsZSBub25j!Q==",
        "dGhlIHNhbXBsZSBub25jZQAA", "dGhlIHNhbXBsZSBub25j"}) {
    EXPECT_EQ(StatusOf(With("Sec-WebSocket-Key", key)), 400) << key;
  }
  EXPECT_EQ(StatusOf(With("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAA/w==")),
            101);
}

TEST(HeadTest, HeadersThatMustBeOne) {
  for (const char* twice : {"Host: localhost", "Origin: a\r\nOrigin: a",
                            "Authorization: a\r\nauthorization: b",
                            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                            "Sec-WebSocket-Version: 13"}) {
    EXPECT_EQ(
        StatusOf(Replaced("\r\n\r\n", absl::StrCat("\r\n", twice, "\r\n\r\n"))),
        400)
        << twice;
  }
  EXPECT_EQ(StatusOf(Replaced("Host: localhost\r\n", "")), 400);
}

TEST(HeadTest, NoBody) {
  EXPECT_EQ(StatusOf(With("Content-Length", "5")), 413);
  EXPECT_EQ(StatusOf(With("Content-Length", "0x")), 413);
  EXPECT_EQ(StatusOf(With("Content-Length", "0")), 101);
  EXPECT_EQ(StatusOf(With("Transfer-Encoding", "chunked")), 413);
}

TEST(HeadTest, MalformedIsRefused) {
  for (const char* line : {"no colon", "name : v", " folded: v", "na(me: v",
                           ": v", "a: \x01", "a: b\rc: d", "a: b\nc: d"}) {
    EXPECT_EQ(
        StatusOf(Replaced("\r\n\r\n", absl::StrCat("\r\n", line, "\r\n\r\n"))),
        400)
        << line;
  }
  for (const char* start :
       {"", "GET", "GET /ws", "GET  /ws HTTP/1.1", "GET /w s HTTP/1.1",
        "GET ws HTTP/1.1", "GET http://a/ws HTTP/1.1", "GET * HTTP/1.1",
        "GET /ws#x HTTP/1.1", "GET /\xc3\xa9 HTTP/1.1", "G@T /ws HTTP/1.1",
        "GET /ws FTP/1.1"}) {
    EXPECT_EQ(StatusOf(Replaced("GET /ws HTTP/1.1", start)), 400) << start;
  }
}

TEST(HeadTest, TicketsComeAsProtocolOrAsParameter) {
  UpgradeRequest request;
  request.protocols = {"other", "socketbroker.v1"};
  request.ticket = "s3cret";
  Upgrade upgrade = Read(request);
  EXPECT_EQ(upgrade.facts.ticket, "s3cret");
  EXPECT_TRUE(upgrade.subprotocol);

  request = {};
  request.path = "/ws?a=1&%74icket=s%33cret&b=2";
  upgrade = Read(request);
  EXPECT_EQ(upgrade.facts.ticket, "s3cret");
  EXPECT_EQ(upgrade.facts.query, "a=1&b=2");
  EXPECT_FALSE(upgrade.subprotocol);

  request.path = "/ws?ticket=";
  EXPECT_EQ(Read(request).facts.ticket, "");
}

TEST(HeadTest, TwoTicketsAreRefused) {
  UpgradeRequest request;
  request.ticket = "a";
  request.path = "/ws?ticket=a";
  EXPECT_EQ(StatusOf(request), 400);
  request.path = "/ws";
  request.protocols = {"ticket.b"};
  EXPECT_EQ(StatusOf(request), 400);
  UpgradeRequest parameters;
  parameters.path = "/ws?ticket=a&ticket=a";
  EXPECT_EQ(StatusOf(parameters), 400);
  parameters.path = "/ws?a=%4";
  EXPECT_EQ(StatusOf(parameters), 400);
}

TEST(HeadTest, WhoJudgesGetsAllButTheTicket) {
  UpgradeRequest request;
  request.path = absl::StrCat("/ws?a=", std::string(2000, 'x'));
  request.protocols = {"chat", "socketbroker.v1", "ticket.s3cret"};
  const Upgrade upgrade = Read(request);
  EXPECT_EQ(upgrade.facts.query.size(), 2002u) << "all of the query";
  EXPECT_EQ(upgrade.facts.ticket, "s3cret");
  EXPECT_EQ(upgrade.facts.subprotocols,
            (std::vector<std::string>{"chat", "socketbroker.v1"}));
  EXPECT_FALSE(upgrade.facts.headers.empty());
  for (const auto& [name, value] : upgrade.facts.headers) {
    EXPECT_FALSE(absl::StrContains(value, "s3cret")) << name;
    EXPECT_FALSE(absl::EqualsIgnoreCase(name, "sec-websocket-protocol"));
  }
}

TEST(HeadTest, TheEndIsFoundAcrossPieces) {
  const std::string head = UpgradeRequest().Encode();
  for (size_t cut = 0; cut < head.size(); ++cut) {
    EXPECT_EQ(FindHeadEnd(head.substr(0, cut), 0), absl::string_view::npos);
    EXPECT_EQ(FindHeadEnd(head + "more", cut), head.size());
  }
}

TEST(HeadTest, RefusalsOnTheWire) {
  EXPECT_EQ(Encode({503, "busy", 5}),
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
            "Content-Length: 5\r\nConnection: close\r\nRetry-After: 5\r\n\r\n"
            "busy\n");
}

TEST(FrameLengthsTest, RefusesOnlyLengthsOver63Bits) {
  const std::string good =
      WsClient::Encode(1, "a") + WsClient::Encode(2, std::string(300, 'b')) +
      WsClient::Encode(2, std::string(70'000, 'c')) + WsClient::Encode(9, "");
  const std::string bad("\x80\xff\x80\0\0\0\0\0\0\0mask", 14);
  const std::string large("\x80\xff\x7f\0\0\0\0\0\0\0mask", 14);
  for (const size_t piece : {1, 3, 1000, 100'000}) {
    FrameLengths lengths;
    for (size_t i = 0; i < good.size(); i += piece) {
      const auto data = absl::string_view(good).substr(i, piece);
      ASSERT_EQ(lengths.Accept(data), data.size());
    }
    FrameLengths copy = lengths;
    EXPECT_EQ(copy.Accept(large), large.size());
    EXPECT_EQ(FrameLengths(lengths).Accept(bad), bad.size() - 1);
    EXPECT_EQ(lengths.Accept(good + bad), good.size() + bad.size() - 1);
  }
}

TEST(FrameLengthsTest, KnowsWhatHasNotEnded) {
  const std::string whole = WsClient::Encode(2, std::string(300, 'b'));
  std::string first = whole;
  first[0] = '\x02';  // no FIN
  std::string last = whole;
  last[0] = static_cast<char>(0x80);
  const std::string ping = WsClient::Encode(9, "x");
  FrameLengths lengths;
  EXPECT_FALSE(lengths.unfinished());
  for (size_t i = 0; i < whole.size(); ++i) {
    lengths.Accept(absl::string_view(whole).substr(i, 1));
    EXPECT_EQ(lengths.unfinished(), i + 1 < whole.size());
  }
  EXPECT_EQ(lengths.ends(), 1u);
  for (const std::string& frame : {first, ping}) {
    lengths.Accept(frame);
    EXPECT_TRUE(lengths.unfinished());
    EXPECT_EQ(lengths.ends(), 1u);
  }
  lengths.Accept(last);
  EXPECT_FALSE(lengths.unfinished());
  EXPECT_EQ(lengths.ends(), 2u);
  lengths.Accept(WsClient::Encode(2, "") + whole.substr(0, 3));
  EXPECT_TRUE(lengths.unfinished());
  EXPECT_EQ(lengths.ends(), 3u) << "another one has begun";
}

}  // namespace
}  // namespace broker
