// HubFixture: a hub over fake sockets, on the test's own thread.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/filter/compiler.h"
#include "broker/filter/text_parser.h"
#include "broker/hub/hub.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_journal.h"
#include "tests/fakes/fake_transport.h"

namespace broker::testing {

inline PredicatePtr Where(const std::string& text) {
  const auto tree = ParseFilter(text);
  EXPECT_TRUE(tree.ok()) << tree.status();
  const auto predicate = CompileFilter(*tree);
  EXPECT_TRUE(predicate.ok()) << predicate.status();
  return *predicate;
}

// "account", "account/session" or "account#token".
inline IdentityPtr Who(const std::string& text) {
  IdentityFields identity;
  const size_t cut = text.find_first_of("/#");
  identity.account_id = text.substr(0, cut);
  if (cut != std::string::npos) {
    (text[cut] == '/' ? identity.token_hash : identity.api_token_id) =
        text.substr(cut + 1);
  }
  return Identity::Make(identity);
}

class HubFixture : public ::testing::Test {
 protected:
  static constexpr size_t kShards = 3;

  // With `journal`, a run after those that it knows of.
  void Start(Settings settings = DefaultSettings(),
             FakeJournal* journal = nullptr) {
    hub_.reset();
    transports_.clear();
    pointers_.clear();
    for (size_t i = 0; i < kShards; ++i) {
      transports_.push_back(std::make_unique<FakeTransport>(clock_));
      pointers_.push_back(transports_.back().get());
    }
    hub_ = std::make_unique<Hub>(
        pointers_, std::make_shared<const Settings>(std::move(settings)),
        clock_, journal ? journal->Past(clock_) : JournalPast::None(clock_),
        journal);
    for (Shard* shard : hub_->shards()) shard->BindToThisThread();
  }

  static Settings DefaultSettings() {
    Settings settings;
    settings.endpoints.emplace_back();
    settings.endpoints[0].allow_pending = true;
    return settings;
  }

  void RunAll() {
    for (bool ran = true; ran;) {
      ran = false;
      for (auto& t : transports_) ran |= t->RunOne();
    }
  }
  void Pass(absl::Duration d) {
    clock_.Advance(d);
    for (auto& t : transports_) t->AdvanceTimers();
  }

  // A connection of the shard: bound when an identity is given, else pending.
  struct Connected {
    size_t shard;
    Slot slot;
    ConnectionId id;
  };
  Connected Connect(size_t shard, const std::string& who = "",
                    const std::string& path = "/ws") {
    HandshakeFacts facts;
    facts.path = path;
    facts.remote_address = "127.0.0.1";
    if (!who.empty()) facts.ticket = Mint(Who(who));
    const Slot slot =
        transports_[shard]->Open(*hub_->shards()[shard], std::move(facts));
    if (slot == FakeTransport::kRefused) return {shard, slot, ConnectionId()};
    return {shard, slot, transports_[shard]->newest};
  }
  std::string Mint(IdentityPtr identity,
                   std::optional<uint64_t> epoch = std::nullopt) {
    Ticket ticket;
    ticket.ns = "default";
    ticket.identity = std::move(identity);
    ticket.verified_at_epoch = epoch.value_or(hub_->epoch());
    ticket.expires = clock_.Monotonic() + std::chrono::seconds(30);
    const auto secret = hub_->MintTicket(std::move(ticket));
    EXPECT_TRUE(secret.ok()) << secret.status();
    return *secret;
  }
  FakeTransport::Socket& SocketOf(const Connected& c) {
    return transports_[c.shard]->sockets.at(c.slot);
  }
  void Gone(const Connected& c) {
    transports_[c.shard]->Gone(*hub_->shards()[c.shard], c.slot);
  }

  // A service comes and leaves.
  AttachFeedPtr Attach(AttachFeedPtr feed, uint64_t handshake_credit) {
    hub_->Attach(feed, handshake_credit);
    RunAll();
    EXPECT_EQ(feed->TakeNext().item->kind, AttachFeed::Item::Kind::kStarted);
    return feed;
  }
  void Leave(const AttachFeedPtr& feed) {
    feed->Cancel();
    hub_->Detach(feed);
    RunAll();
  }

  // Runs a command of the hub to its end.
  template <typename T, typename F>
  absl::StatusOr<T> Await(F start) {
    std::optional<absl::StatusOr<T>> result;
    start(Done<T>([&](absl::StatusOr<T> r) { result = std::move(r); }));
    RunAll();
    EXPECT_TRUE(result.has_value()) << "no answer";
    return *std::move(result);
  }
  absl::StatusOr<ConnectionInfoPtr> Bind(const Connected& c,
                                         const std::string& who,
                                         bool hold = false) {
    BindCommand command;
    command.id = c.id;
    command.identity = Who(who);
    command.hold = hold;
    return Await<ConnectionInfoPtr>(
        [&](auto done) { hub_->Bind(command, std::move(done)); });
  }
  absl::StatusOr<RevokeResult> Revoke(RevokeCommand command) {
    return Await<RevokeResult>(
        [&](auto done) { hub_->Revoke(std::move(command), std::move(done)); });
  }
  // The status of a handshake with the ticket, which is then not opened.
  int Knock(const std::string& ticket) {
    HandshakeFacts facts;
    facts.path = "/ws";
    facts.ticket = ticket;
    return hub_->shards()[0]->CheckHandshake(facts).http_status;
  }
  RevokeCommand ByKey(RevocationTarget::Kind kind, const std::string& key) {
    RevokeCommand command;
    command.target.kind = kind;
    command.target.key = key;
    return command;
  }
  RevokeCommand ByFilter(const std::string& text) {
    RevokeCommand command;
    command.target.kind = RevocationTarget::Kind::kFilter;
    command.target.predicate = Where(text);
    command.target.namespaces = {"default"};
    command.fence = false;
    return command;
  }
  uint64_t CloseAccount(const std::string& account) {
    return Revoke(ByKey(RevocationTarget::Kind::kAccount, account))->closed;
  }
  absl::StatusOr<SendTally> Send(const std::string& filter,
                                 const std::string& text,
                                 bool include_outcomes = false) {
    SendCommand command;
    command.ns = "default";
    command.predicate = filter.empty() ? Predicate::All() : Where(filter);
    command.frame = Frame::Encode(Opcode::kText, text);
    command.include_outcomes = include_outcomes;
    return Await<SendTally>(
        [&](auto done) { hub_->Send(std::move(command), std::move(done)); });
  }
  uint64_t Count(const std::string& filter = "") {
    return *Await<uint64_t>([&](auto done) {
      hub_->Count("default", filter.empty() ? Predicate::All() : Where(filter),
                  std::move(done));
    });
  }
  ConnectionInfoPtr Get(const Connected& c) {
    auto details = Await<ConnectionDetails>(
        [&](auto done) { hub_->Get(c.id, std::move(done)); });
    return details.ok() ? details->info : nullptr;
  }

  FakeClock clock_;
  std::vector<std::unique_ptr<FakeTransport>> transports_;
  std::vector<Transport*> pointers_;
  std::unique_ptr<Hub> hub_;
};

}  // namespace broker::testing
