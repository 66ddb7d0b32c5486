// WsFixture: a hub over real sockets on a free port of the loopback.

#pragma once

#include <chrono>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "broker/hub/hub.h"
#include "broker/ws/server.h"
#include "gtest/gtest.h"
#include "tests/fakes/tls_client.h"
#include "tests/fakes/ws_client.h"

namespace broker::testing {

class WsFixture : public ::testing::Test {
 protected:
  using Time = std::chrono::steady_clock;

  // CTest runs the same tests once more with BROKER_TEST_TLS.
  WsFixture() {
    if (std::getenv("BROKER_TEST_TLS") != nullptr) {
      certificate_.emplace("localhost");
      tls_ = *TlsContext::Load(
          {certificate_->certificate_file(), certificate_->private_key_file()});
    }
    WsClient::UseTlsByDefault(tls_ != nullptr);
    settings_.endpoints.emplace_back();
    settings_.endpoints[0].allow_pending = true;
    settings_.endpoints[0].pending_timeout = std::chrono::minutes(1);
  }
  ~WsFixture() override {
    if (server_) server_->Stop();
  }

  void Start(int shards = 1, const std::string& address = "127.0.0.1",
             Callout* callout = nullptr) {
    server_ =
        std::make_unique<WsServer>(WsServer::Options{address, 0, shards, tls_});
    hub_ = std::make_unique<Hub>(server_->transports(),
                                 std::make_shared<const Settings>(settings_),
                                 *clock_);
    hub_->SetCallout(callout);
    ASSERT_TRUE(server_->Bind().ok());
    server_->Start(hub_->shards());
  }

  uint16_t port() const { return server_->port(); }
  EndpointSettings& endpoint() { return settings_.endpoints[0]; }
  Transport& transport(size_t i = 0) { return *server_->transports()[i]; }
  ShardStats& stats(size_t i = 0) { return hub_->shards()[i]->stats(); }

  std::string Mint(const std::string& account) {
    IdentityFields identity;
    identity.account_id = account;
    identity.token_hash = absl::StrCat("session of ", account);
    Ticket ticket;
    ticket.ns = "default";
    ticket.identity = Identity::Make(identity);
    ticket.verified_at_epoch = hub_->epoch();
    ticket.expires = Clock::System().Monotonic() + std::chrono::minutes(1);
    return *hub_->MintTicket(std::move(ticket));
  }
  // Opens an admitted connection. The first one of a shard has slot 0.
  void Admit(WsClient& client, const std::string& account = "a1") {
    UpgradeRequest request;
    request.protocols = {"socketbroker.v1"};
    request.ticket = Mint(account);
    ASSERT_EQ(client.Handshake(port(), request).status, 101);
  }

  // Runs it on the shard's thread and waits for it.
  void OnShard(const std::function<void()>& work, size_t shard = 0) {
    std::promise<void> done;
    transport(shard).Post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  // Asks the shard's thread again and again until it is so.
  bool WaitFor(const std::function<bool()>& condition,
               std::chrono::milliseconds timeout = kPatience) {
    const auto deadline = Time::now() + timeout;
    for (bool done = false;;) {
      OnShard([&] { done = condition(); });
      if (done || Time::now() > deadline) return done;
      std::this_thread::yield();
    }
  }

  SendResult Send(Slot slot, const FramePtr& frame) {
    SendResult result{};
    OnShard([&] { transport().Send({slot}, frame, &result); });
    return result;
  }
  void Close(Slot slot, CloseCode code,
             absl::Duration drain_for = absl::ZeroDuration()) {
    OnShard([&] { transport().Close(slot, code, drain_for); });
  }
  Transport::OutboxBytes OutboxOf(Slot slot) {
    Transport::OutboxBytes bytes;
    OnShard([&] { bytes = transport().Outbox(slot); });
    return bytes;
  }
  // Sends numbered frames until the outbox takes no more; returns how many it
  // took.
  int Fill(Slot slot, size_t payload_size) {
    int queued = 0;
    OnShard([&] {
      SendResult result = SendResult::kQueued;
      while (result == SendResult::kQueued) {
        transport().Send({slot}, Numbered(queued, payload_size), &result);
        if (result == SendResult::kQueued) ++queued;
      }
      EXPECT_EQ(result, SendResult::kTooSlow);
    });
    return queued;
  }
  static FramePtr Numbered(int number, size_t payload_size) {
    return Frame::Encode(Opcode::kBinary,
                         NumberedPayload(number, payload_size));
  }
  static std::string NumberedPayload(int number, size_t payload_size) {
    std::string payload = absl::StrCat(number, ":");
    payload.resize(payload_size, static_cast<char>('a' + number % 26));
    return payload;
  }
  uint64_t Closes(int code, size_t shard = 0) {
    const auto closes = stats(shard).closes.values();
    const auto it = closes.find(code);
    return it == closes.end() ? 0 : it->second;
  }
  uint64_t Handshakes(int status, size_t shard = 0) {
    const auto handshakes = stats(shard).handshakes.values();
    const auto it = handshakes.find(status);
    return it == handshakes.end() ? 0 : it->second;
  }

  std::optional<TestCertificate> certificate_;
  TlsContextPtr tls_;
  Settings settings_;
  const Clock* clock_ = &Clock::System();
  std::unique_ptr<WsServer> server_;
  std::unique_ptr<Hub> hub_;
};

}  // namespace broker::testing
