// What is TLS's own, over real sockets: versions, protocols, certificates, and
// clients that do not play along. The other tests of sockets run over TLS, too:
// see tests/CMakeLists.txt.

#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "broker/ws/tls_context.h"
#include "broker/ws/tls_session.h"
#include "gtest/gtest.h"
#include "tests/fakes/tls_client.h"
#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

class TlsTest : public WsFixture {
 protected:
  TlsTest() {
    Use(first_);
    WsClient::UseTlsByDefault(true);
  }

  void Use(const TestCertificate& certificate, bool only_1_3 = false) {
    auto context = TlsContext::Load({certificate.certificate_file(),
                                     certificate.private_key_file(), only_1_3});
    ASSERT_TRUE(context.ok()) << context.status();
    tls_ = *context;
  }

  TestCertificate first_{"first"};
};

TEST_F(TlsTest, SpeaksTheNewestVersion) {
  Start();
  WsClient client;
  Admit(client);
  EXPECT_EQ(client.tls()->version(), "TLSv1.3");
  EXPECT_EQ(client.tls()->server_name(), "first");
  EXPECT_EQ(Send(0, Numbered(0, 100)), SendResult::kQueued);
  EXPECT_EQ(client.Read()->payload, NumberedPayload(0, 100));
}

TEST_F(TlsTest, SpeaksTheVersionBefore) {
  Start();
  WsClient client;
  client.UseTls(TlsClient::Options{TLS1_2_VERSION, {}});
  Admit(client);
  EXPECT_EQ(client.tls()->version(), "TLSv1.2");
}

TEST_F(TlsTest, SpeaksNoOlderVersion) {
  Start();
  for (const int version : {TLS1_VERSION, TLS1_1_VERSION}) {
    WsClient client;
    ASSERT_TRUE(client.Connect(port()));
    TlsClient tls({version, {}});
    client.SendWire(tls.TakeOutgoing());
    // The alert protocol_version, and the end.
    EXPECT_EQ(client.WaitEnd().bytes, 7u);
  }
  EXPECT_EQ(stats().tls_failures.value(), 2u);
  EXPECT_EQ(Handshakes(0), 2u);
}

TEST_F(TlsTest, TheOldestVersionCanBeRaised) {
  Use(first_, /*only_1_3=*/true);
  Start();
  WsClient old, fresh;
  ASSERT_TRUE(old.Connect(port()));
  TlsClient tls({TLS1_2_VERSION, {}});
  old.SendWire(tls.TakeOutgoing());
  EXPECT_EQ(old.WaitEnd().how, WsEnd::How::kEof);
  Admit(fresh);
}

// RFC 7301.
TEST_F(TlsTest, ChoosesHttp11) {
  Start();
  WsClient both, only_2;
  both.UseTls(TlsClient::Options{0, {"h2", "http/1.1"}});
  Admit(both);
  EXPECT_EQ(both.tls()->protocol(), "http/1.1");
  ASSERT_TRUE(only_2.Connect(port()));
  TlsClient tls({0, {"h2"}});
  only_2.SendWire(tls.TakeOutgoing());
  EXPECT_EQ(only_2.WaitEnd().how, WsEnd::How::kEof);
  EXPECT_EQ(stats().tls_failures.value(), 1u);
}

TEST_F(TlsTest, TellsWhoSpeaksNoTls) {
  Start();
  WsClient client;
  client.UseTls(std::nullopt);
  const HttpResponse response = client.Handshake(port());
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.body, "this port speaks TLS: connect to wss://\n");
  EXPECT_EQ(client.WaitClosed().how, WsEnd::How::kEof);
}

TEST_F(TlsTest, EndsWhatIsNeither) {
  Start();
  for (const std::string& junk :
       {std::string("\x16\x03\x01\x00\x05junk!", 10), std::string(100, '\0'),
        std::string("\xff")}) {
    WsClient client;
    ASSERT_TRUE(client.Connect(port()));
    client.SendWire(junk);
    client.ShutdownWrite();
    EXPECT_NE(client.WaitEnd().how, WsEnd::How::kTimeout);
  }
  EXPECT_TRUE(
      WaitFor([&] { return hub_->shards()[0]->caps().sockets() == 0; }));
}

TEST_F(TlsTest, JunkAmongRecordsEndsAConnection) {
  Start();
  WsClient client;
  Admit(client);
  client.SendWire(std::string("\x17\x03\x03\x00\x20", 5) +
                  std::string(32, 'x'));
  EXPECT_TRUE(WaitFor([&] { return Closes(1006) == 1; }));
}

TEST_F(TlsTest, TheHandshakeMayComeInBytes) {
  Start();
  WsClient client;
  ASSERT_TRUE(client.Connect(port()));
  TlsClient hello({});
  for (const char byte : hello.TakeOutgoing()) {
    client.SendWire(absl::string_view(&byte, 1));
  }
  // The server's first flight.
  EXPECT_TRUE(WaitFor([&] { return client.data_segments() > 0; }));
}

TEST_F(TlsTest, ASilentHandshakeTimesOut) {
  settings_.limits.handshake_timeout = std::chrono::milliseconds(200);
  Start();
  WsClient silent, half;
  ASSERT_TRUE(silent.Connect(port()));
  ASSERT_TRUE(half.Connect(port()));
  TlsClient hello({});
  half.SendWire(hello.TakeOutgoing());
  EXPECT_NE(silent.WaitEnd().how, WsEnd::How::kTimeout);
  EXPECT_NE(half.WaitEnd().how, WsEnd::How::kTimeout);
  EXPECT_EQ(stats().handshake_timeouts.value(), 2u);
}

TEST_F(TlsTest, TheEndIsToldInTlsToo) {
  Start();
  WsClient client;
  Admit(client);
  Close(0, CloseCode::kRemoved);
  EXPECT_EQ(client.Read()->close_code(), 1000);
  client.SendClose(1000);
  EXPECT_EQ(client.WaitClosed().how, WsEnd::How::kEof);
  EXPECT_TRUE(client.tls()->ended());
}

TEST_F(TlsTest, ARefusalIsReadable) {
  Start();
  WsClient client;
  UpgradeRequest request;
  request.path = "/nowhere";
  EXPECT_EQ(client.Handshake(port(), request).status, 404);
  EXPECT_EQ(client.WaitClosed().how, WsEnd::How::kEof);
  EXPECT_TRUE(client.tls()->ended());
}

TEST_F(TlsTest, NewKeysDoNotDisturb) {
  Start();
  WsClient client;
  Admit(client);
  for (int i = 0; i < 5; ++i) {
    client.tls()->UpdateKeys();
    client.SendWire(client.tls()->TakeOutgoing());
    EXPECT_EQ(Send(0, Numbered(i, 40'000)), SendResult::kQueued);
    EXPECT_EQ(client.Read()->payload, NumberedPayload(i, 40'000));
  }
}

// The answers to these are not in the outbox, and are bounded all the same.
TEST_F(TlsTest, WhoAsksForKeysAndReadsNothingIsEnded) {
  Start();
  WsClient client;
  client.SetReceiveBuffer(4096);
  Admit(client);
  bool alive = true;
  for (int i = 0; alive && i < 100'000; ++i) {
    client.tls()->UpdateKeys();
    alive = client.SendWire(client.tls()->TakeOutgoing());
    if (i % 1'000 != 0) continue;
    OnShard([&] {
      if (Closes(1006) == 0) EXPECT_LE(transport().Outbox(0).now, 70'000u);
    });
  }
  EXPECT_FALSE(alive);
  EXPECT_TRUE(WaitFor([&] { return Closes(1006) == 1; }));
}

TEST_F(TlsTest, ANewCertificateIsForNewSockets) {
  const TestCertificate second("second");
  Start();
  WsClient before, after;
  Admit(before, "a1");
  Use(second);
  server_->SetTls(tls_);
  OnShard([] {});
  Admit(after, "a2");
  EXPECT_EQ(before.tls()->server_name(), "first");
  EXPECT_EQ(after.tls()->server_name(), "second");
  for (Slot slot : {0, 1}) {
    EXPECT_EQ(Send(slot, Numbered(1, 10)), SendResult::kQueued);
  }
  EXPECT_EQ(before.Read()->payload, NumberedPayload(1, 10));
  EXPECT_EQ(after.Read()->payload, NumberedPayload(1, 10));
}

// ---- a session by itself ----------------------------------------------------

class TlsSessionTest : public ::testing::Test {
 protected:
  TlsSessionTest() {
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds_), 0);
    context_ = *TlsContext::Load(
        {certificate_.certificate_file(), certificate_.private_key_file()});
    session_.emplace(*context_, fds_[0], buffers_);
  }
  ~TlsSessionTest() override {
    for (const int fd : fds_) close(fd);
  }

  // Brings what each has to say to the other; false: the client gives up.
  bool Exchange(TlsClient& client) {
    for (;;) {
      const std::string said = client.TakeOutgoing();
      if (!said.empty()) {
        session_->Receive(said, [](absl::Span<char>) { return true; });
      }
      char answer[16 * 1024];
      const ssize_t size = recv(fds_[1], answer, sizeof answer, 0);
      if (size <= 0) return true;
      std::string plain;
      if (!client.Feed({answer, static_cast<size_t>(size)}, plain)) {
        return false;
      }
    }
  }

  TestCertificate certificate_{"session"};
  TlsContextPtr context_;
  TlsBuffers buffers_;
  int fds_[2];
  std::optional<TlsSession> session_;
};

// Each would be a handshake's worth of work.
TEST_F(TlsSessionTest, RefusesToRenegotiate) {
  TlsClient client({TLS1_2_VERSION, {}});
  ASSERT_TRUE(Exchange(client));
  ASSERT_TRUE(client.ready());
  client.Renegotiate();
  EXPECT_FALSE(Exchange(client));
}

// It could be sent again by whoever recorded it.
TEST_F(TlsSessionTest, TakesNoEarlyData) {
  TlsClient client({});
  ASSERT_TRUE(Exchange(client));
  ASSERT_TRUE(client.ready());
  EXPECT_EQ(client.early_data(), 0u);
}

// ---- what is read from files ------------------------------------------------

std::string WhyNot(const std::string& certificate, const std::string& key) {
  return std::string(TlsContext::Load({certificate, key}).status().message());
}

TEST(TlsContextTest, KnowsWhenTheCertificateExpires) {
  const TestCertificate certificate("a", 10);
  const auto context = TlsContext::Load(
      {certificate.certificate_file(), certificate.private_key_file()});
  ASSERT_TRUE(context.ok());
  const absl::Duration left = (*context)->not_after() - absl::Now();
  EXPECT_GT(left, absl::Hours(239));
  EXPECT_LE(left, absl::Hours(240));
}

TEST(TlsContextTest, NamesWhatIsWrong) {
  const TestCertificate a("a"), b("b");
  EXPECT_EQ(WhyNot("/nowhere.pem", a.private_key_file()),
            "certificate_file: \"/nowhere.pem\" cannot be read: No such file "
            "or directory");
  EXPECT_EQ(WhyNot(a.certificate_file(), "/"),
            "private_key_file: \"/\" cannot be read: Is a directory");
  EXPECT_EQ(WhyNot("/dev/null", a.private_key_file()),
            "certificate_file: \"/dev/null\" is empty");
  EXPECT_EQ(WhyNot(a.private_key_file(), a.private_key_file()),
            absl::StrCat("certificate_file: \"", a.private_key_file(),
                         "\" has no certificate in PEM form that OpenSSL "
                         "takes"));
  EXPECT_EQ(WhyNot(a.certificate_file(), a.certificate_file()),
            absl::StrCat("private_key_file: \"", a.certificate_file(),
                         "\" has no private key in PEM form without a "
                         "password"));
  EXPECT_EQ(WhyNot(a.certificate_file(), b.private_key_file()),
            absl::StrCat("private_key_file: \"", b.private_key_file(),
                         "\" is not the key of the certificate in \"",
                         a.certificate_file(), "\""));
}

}  // namespace
}  // namespace broker::testing
