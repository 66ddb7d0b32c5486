// The layer of sockets under churn: clients that connect, send, stall, close,
// break and vanish, while messages, closes, revocations and new certificates
// come from other threads. Every byte that a client gets is checked, and at the
// end nothing is left.
//
// BROKER_SOAK_SECONDS is how long; half of it without TLS, half with.

#include <atomic>
#include <map>
#include <random>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "broker/ws/engine.h"
#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

constexpr int kClients = 12;  // each on a thread of its own, with its account
constexpr std::chrono::milliseconds kMoment{5};

std::chrono::milliseconds SoakTime() {
  const char* const text = std::getenv("BROKER_SOAK_SECONDS");
  int seconds = 60;
  if (text != nullptr) EXPECT_TRUE(absl::SimpleAtoi(text, &seconds)) << text;
  return std::chrono::seconds(seconds);
}

std::string Account(int client) { return absl::StrCat("a", client); }

// "sender:number:", then letters that follow from the number.
std::string Payload(const std::string& sender, uint64_t number, size_t size) {
  std::string payload = absl::StrCat(sender, ":", number, ":");
  payload.resize(payload.size() + size, static_cast<char>('a' + number % 26));
  return payload;
}

// What one connection has received: of each sender every message from the first
// one on, whole, in order.
class Received {
 public:
  void Check(const WsMessage& message) {
    if (message.opcode != WsClient::kText) return;
    if (message.payload.front() == '{') return;  // answers to junk of ours
    const std::vector<std::string> parts =
        absl::StrSplit(message.payload, absl::MaxSplits(':', 2));
    ASSERT_EQ(parts.size(), 3u) << message.payload.substr(0, 80);
    uint64_t number = 0;
    ASSERT_TRUE(absl::SimpleAtoi(parts[1], &number)) << parts[1];
    ASSERT_EQ(message.payload, Payload(parts[0], number, parts[2].size()));
    const auto [last, first] = last_.emplace(parts[0], number);
    if (first) return;
    ASSERT_EQ(number, last->second + 1) << "of sender " << parts[0];
    last->second = number;
  }

 private:
  std::map<std::string, uint64_t> last_;  // by sender
};

class SoakTest : public WsFixture, public ::testing::WithParamInterface<bool> {
 protected:
  SoakTest() {
    endpoint().framing = Framing::kRaw;
    endpoint().max_message_bytes = 256 * 1024;
    endpoint().max_outbox_bytes = 512 * 1024;
    endpoint().soft_outbox_bytes = 128 * 1024;
    endpoint().soft_outbox_time = std::chrono::milliseconds(200);
    settings_.limits.ping_interval = std::chrono::milliseconds(150);
    settings_.limits.pong_timeout = std::chrono::milliseconds(150);
    settings_.limits.handshake_timeout = std::chrono::milliseconds(500);
    if (GetParam()) NewCertificate();
    WsClient::UseTlsByDefault(GetParam());
    Start(2, "127.0.0.1");
  }

  void NewCertificate() {
    certificate_.emplace("localhost");
    tls_ = *TlsContext::Load(
        {certificate_->certificate_file(), certificate_->private_key_file()});
  }

  bool Over() const { return over_.load(std::memory_order_relaxed); }
  // Waits for the end of the test, for at most so long.
  void Pause(std::chrono::milliseconds most) { end_.wait_for(most); }

  // ---- on a thread of its own each ----

  void Connect(int number) {
    std::mt19937 random(static_cast<uint32_t>(number));
    while (!Over()) {
      WsClient client;
      if (random() % 3 == 0) client.SetReceiveBuffer(4096);
      switch (random() % 8) {
        case 0:  // No handshake, or the half of one.
          if (!client.Connect(port())) break;
          if (random() % 2 == 0) client.SendWire("\x16\x03");
          if (random() % 2 == 0) client.Reset();
          break;
        case 1: {  // Leaves before the answer.
          if (!client.Connect(port())) break;
          UpgradeRequest request;
          request.ticket = Mint(Account(number));
          client.SendRaw(request.Encode());
          break;
        }
        default: {
          UpgradeRequest request;
          request.ticket = Mint(Account(number));
          const int status = client.Handshake(port(), request).status;
          // 0: it was cut off; 401: the revocation was first.
          EXPECT_TRUE(status == 101 || status == 401 || status == 0) << status;
          if (status == 101) Live(client, random);
        }
      }
    }
  }

  void Live(WsClient& client, std::mt19937& random) {
    ++lives_;
    Received received;
    const auto read = [&](int most) {
      for (int i = 0; i < most; ++i) {
        const auto message = client.Read(kMoment);
        if (!message) return;
        ASSERT_NO_FATAL_FAILURE(received.Check(*message));
        if (message->opcode == WsClient::kPing) {
          client.SendFrame(WsClient::kPong, message->payload);
        }
        if (message->opcode == WsClient::kClose) client.SendClose(1000);
      }
    };
    for (auto steps = random() % 40; steps > 0 && !Over(); --steps) {
      switch (random() % 10) {
        case 0:
          client.SendText(std::string(random() % 5'000, 't'));
          break;
        case 1:
          client.SendFrame(WsClient::kBinary, "a", false);
          client.SendFrame(WsClient::kPing, "between");
          client.SendFrame(WsClient::kContinuation,
                           std::string(random() % 70'000, 'b'));
          break;
        case 2:  // Reads nothing for a while.
          Pause(kMoment * (random() % 100));
          break;
        case 3:
          if (client.tls() != nullptr) {
            client.tls()->UpdateKeys();
            client.SendWire(client.tls()->TakeOutgoing());
          }
          break;
        default:
          read(static_cast<int>(random() % 50));
      }
    }
    switch (random() % 6) {
      case 0:
        client.SendClose(1000);
        client.WaitEnd(std::chrono::seconds(3));
        break;
      case 1:
        client.Reset();
        break;
      case 2:
        client.ShutdownWrite();
        break;
      case 3:
        client.SendWire("junk, and then nothing");
        break;
      case 4:  // What the broker makes of somebody who does nothing more.
        client.WaitReset(std::chrono::seconds(3));
        break;
      default:
        break;
    }
  }

  void Publish(int sender) {
    std::mt19937 random(1000 + static_cast<uint32_t>(sender));
    std::map<int, uint64_t> numbers;
    while (!Over()) {
      const int to = static_cast<int>(random() % (kClients + 1));
      SendCommand command;
      command.ns = "default";
      if (to < kClients) {
        command.account_id = Account(to);
      } else {
        command.predicate = Predicate::All();
      }
      const size_t size =
          random() % 20 == 0 ? random() % 100'000 : random() % 500;
      const std::string name = absl::StrCat(sender, to < kClients ? "" : "all");
      command.frame = Frame::Encode(
          Opcode::kText,
          Payload(name, numbers[to < kClients ? to : kClients]++, size));
      std::promise<void> done;
      hub_->Send(std::move(command), [&](const auto& tally) {
        if (tally.ok()) sent_ += tally->queued;
        done.set_value();
      });
      // So that the numbers' order is that of the shards.
      done.get_future().wait();
      if (random() % 10 == 0) Pause(kMoment);
    }
  }

  void Revoke() {
    std::mt19937 random(7);
    while (!Over()) {
      Pause(kMoment * 10);
      RevokeCommand command;
      command.target.kind = RevocationTarget::Kind::kAccount;
      command.target.key = Account(static_cast<int>(random() % kClients));
      if (random() % 3 == 0) command.drain_for = absl::Milliseconds(300);
      std::promise<void> done;
      hub_->Revoke(std::move(command), [&](const auto& result) {
        if (result.ok()) revoked_ += result->closed;
        done.set_value();
      });
      done.get_future().wait();
      if (GetParam() && random() % 10 == 0) {
        NewCertificate();
        server_->SetTls(tls_);
      }
    }
  }

  std::promise<void> ended_;
  const std::shared_future<void> end_{ended_.get_future()};
  std::atomic<bool> over_{false};
  std::atomic<uint64_t> lives_{0};
  std::atomic<uint64_t> sent_{0};
  std::atomic<uint64_t> revoked_{0};
};

TEST_P(SoakTest, NothingBreaksAndNothingIsLeft) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kClients; ++i) {
    threads.emplace_back([this, i] { Connect(i); });
  }
  for (int i = 0; i < 2; ++i) threads.emplace_back([this, i] { Publish(i); });
  threads.emplace_back([this] { Revoke(); });
  Pause(SoakTime() / 2);
  over_ = true;
  ended_.set_value();
  for (std::thread& thread : threads) thread.join();

  EXPECT_GT(lives_, 20u);
  EXPECT_GT(sent_, 100u);
  EXPECT_GT(revoked_, 0u);
  EXPECT_TRUE(
      WaitFor([&] { return hub_->shards()[0]->caps().sockets() == 0; }));
  EXPECT_TRUE(WaitFor([&] { return Engine::live_connections() == 0; }));
  for (size_t shard : {0, 1}) {
    OnShard(
        [&] {
          EXPECT_EQ(stats(shard).outbox_bytes.value(), 0);
          EXPECT_EQ(stats(shard).slow_connections.value(), 0);
        },
        shard);
    RecordProperty("closed_4008", static_cast<int>(Closes(4008, shard)));
    RecordProperty("closed_4003", static_cast<int>(Closes(4003, shard)));
  }
  RecordProperty("lives", static_cast<int>(lives_));
  RecordProperty("messages", static_cast<int>(sent_));
}

INSTANTIATE_TEST_SUITE_P(WithoutAndWithTls, SoakTest, ::testing::Bool());

}  // namespace
}  // namespace broker::testing
