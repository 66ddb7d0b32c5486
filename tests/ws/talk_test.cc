// Clients that talk to services which come and go, over real sockets and
// threads: every request gets one reply, whatever happens.

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/ws/ws_fixture.h"

namespace broker::testing {
namespace {

using Kind = AttachFeed::Item::Kind;

// A service on a thread of its own, as a stream would be.
class Service {
 public:
  Service(Hub& hub, bool idempotent) : hub_(hub) {
    AttachSpec spec;
    spec.ns = "default";
    spec.events = Predicate::All();
    spec.messages.emplace();
    spec.messages->methods = {"*"};
    spec.messages->idempotent = idempotent;
    feed_ = std::make_shared<AttachFeed>(std::move(spec));
    feed_->AddMessageCredit(8);
    feed_->AddEventCredit(AttachFeed::kMaxCredit);
    hub_.Attach(feed_, 0);
    thread_ = std::thread([this] { Serve(); });
  }
  // Ends well, or as if it had crashed.
  void Leave(bool drain) {
    if (drain) {
      hub_.DrainService(feed_);
    } else {
      feed_->Fail(absl::CancelledError("gone"));
    }
    thread_.join();
    feed_->Cancel();
    hub_.Detach(feed_);
  }

 private:
  void Serve() {
    for (;;) {
      std::promise<AttachFeed::Next> promise;
      feed_->NotifyWhenReady([&] { promise.set_value(feed_->TakeNext()); });
      const AttachFeed::Next next = promise.get_future().get();
      if (next.end) return;
      if (!next.item || next.item->kind != Kind::kMessage) continue;
      const ClientMessage& message = *next.item->message;
      if (message.kind == ClientMessage::Kind::kRequest) {
        hub_.Reply(feed_, {message.id, false, message.payload, 0});
      }
      feed_->AddMessageCredit(1);
    }
  }

  Hub& hub_;
  AttachFeedPtr feed_;
  std::thread thread_;
};

class TalkTest : public WsFixture {
 protected:
  static constexpr int kRequests = 400;

  // Sends requests, a few at a time, cancels some, and reads their replies.
  // Returns how many were served.
  int Talk(uint16_t port, const std::string& ticket) {
    WsClient client;
    UpgradeRequest upgrade;
    upgrade.protocols = {"socketbroker.v1"};
    upgrade.ticket = ticket;
    EXPECT_EQ(client.Handshake(port, upgrade).status, 101);
    std::set<std::string> open;
    int served = 0;
    for (int i = 0; i < kRequests; ++i) {
      const std::string id = absl::StrCat(i);
      EXPECT_TRUE(client.SendText(absl::StrCat(R"({"jsonrpc":"2.0","id":)", id,
                                               R"(,"method":"m","params":[)",
                                               id, "]}")));
      open.insert(id);
      client.SendText(R"({"jsonrpc":"2.0","method":"note"})");
      if (i % 7 == 0) {
        client.SendText(absl::StrCat(
            R"({"jsonrpc":"2.0","method":"cancel","params":{"request_id":)", id,
            "}}"));
      }
      while (open.size() > 6 || (i == kRequests - 1 && !open.empty())) {
        const auto message = client.Read();
        if (!message) {
          ADD_FAILURE() << "no reply to " << open.size();
          return served;
        }
        const std::string& text = message->payload;
        const size_t begin = text.find("\"id\":") + 5;
        const std::string replied =
            text.substr(begin, text.find(',', begin) - begin);
        EXPECT_EQ(open.erase(replied), 1u) << text;
        const bool good = text.find(absl::StrCat("\"result\":[", replied,
                                                 "]}")) != std::string::npos;
        served += good;
        EXPECT_TRUE(good || text.find("\"error\"") != std::string::npos)
            << text;
      }
    }
    return served;
  }

  int Run(bool idempotent) {
    Start(/*shards=*/2);
    constexpr int kClients = 4;
    std::atomic<int> served{0};
    std::atomic<int> left{kClients};
    std::vector<std::thread> clients;
    for (int i = 0; i < kClients; ++i) {
      clients.emplace_back([&, ticket = Mint(absl::StrCat("a", i))] {
        served += Talk(port(), ticket);
        --left;
      });
    }
    Service stays(*hub_, idempotent);
    for (int round = 0; left > 0; ++round) {
      Service passing(*hub_, idempotent);
      passing.Leave(/*drain=*/round % 2 == 0);
    }
    for (std::thread& client : clients) client.join();
    stays.Leave(/*drain=*/true);
    return served;
  }
};

TEST_F(TalkTest, EveryRequestIsRepliedToOnce) {
  EXPECT_GT(Run(/*idempotent=*/false), 0);
}

TEST_F(TalkTest, EveryRequestIsRepliedToOnceByWhoeverIsThere) {
  EXPECT_GT(Run(/*idempotent=*/true), 0);
}

// The promise of section 4: once a revocation is answered, nothing more of what
// it covers is handed to a service, whatever is on its way.
TEST_F(TalkTest, NothingIsHandedOnAfterARevocation) {
  Start(/*shards=*/2);
  AttachSpec spec;
  spec.ns = "default";
  spec.messages.emplace();
  spec.messages->methods = {"*"};
  const auto feed = std::make_shared<AttachFeed>(std::move(spec));
  hub_->Attach(feed, 0);
  std::atomic<int> revoked{0};  // accounts below it are
  std::atomic<uint64_t> taken{0};
  std::atomic<uint64_t> late{0};
  std::thread service([&] {
    for (;;) {
      std::promise<void> ready;
      feed->NotifyWhenReady([&] { ready.set_value(); });
      ready.get_future().wait();
      const int before = revoked;
      const AttachFeed::Next next = feed->TakeNext();
      if (next.end) return;
      if (!next.item || next.item->kind != Kind::kMessage) continue;
      feed->AddMessageCredit(1);
      ++taken;
      int account = 0;
      EXPECT_TRUE(absl::SimpleAtoi(
          next.item->message->from->identity->account_id(), &account));
      late += account < before;
    }
  });
  feed->AddMessageCredit(50);
  constexpr int kAccounts = 60;
  for (int account = 0; account < kAccounts; ++account) {
    WsClient client;
    UpgradeRequest upgrade;
    upgrade.protocols = {"socketbroker.v1"};
    upgrade.ticket = Mint(absl::StrCat(account));
    ASSERT_EQ(client.Handshake(port(), upgrade).status, 101);
    // As fast as it can, and on for a while when it has been closed.
    std::string many;
    for (int i = 0; i < 50; ++i) {
      many += WsClient::Encode(WsClient::kText,
                               R"({"jsonrpc":"2.0","method":"note"})");
    }
    std::thread talker([&] {
      for (int after = 0; after < 20 && client.SendRaw(many);) {
        after += revoked > account;
      }
    });
    const uint64_t begun = taken;
    while (taken == begun) std::this_thread::yield();
    RevokeCommand command;
    command.target.kind = RevocationTarget::Kind::kAccount;
    command.target.key = absl::StrCat(account);
    std::promise<uint64_t> closed;
    hub_->Revoke(std::move(command),
                 [&](const auto& result) { closed.set_value(result->closed); });
    EXPECT_EQ(closed.get_future().get(), 1u);
    revoked = account + 1;
    talker.join();
  }
  feed->Fail(absl::CancelledError("done"));
  service.join();
  feed->Cancel();
  hub_->Detach(feed);
  EXPECT_GT(taken, uint64_t{kAccounts});
  EXPECT_EQ(late, 0u);
}

}  // namespace
}  // namespace broker::testing
