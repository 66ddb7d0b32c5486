// ConversationTest: clients over fake sockets, and services as feeds.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/fakes/hub_fixture.h"

namespace broker::testing {

class ConversationTest : public HubFixture {
 protected:
  void SetUp() override { Start(); }
  // Who still waits for an outcome is told now, into what is ours.
  void TearDown() override { hub_.reset(); }

  static MessageSpec Taking(std::vector<std::string> methods) {
    MessageSpec spec;
    spec.methods = std::move(methods);
    return spec;
  }
  AttachFeedPtr Attach(MessageSpec messages, uint64_t credit,
                       bool events = false) {
    AttachSpec spec;
    spec.ns = "default";
    spec.messages = std::move(messages);
    if (events) spec.events = Predicate::All();
    auto feed = std::make_shared<AttachFeed>(std::move(spec));
    feed->AddMessageCredit(credit);
    return HubFixture::Attach(std::move(feed), 0);
  }

  // What a feed has to tell: "method params", "cancelled", "report outcome".
  std::vector<std::string> Told(const AttachFeedPtr& feed) {
    std::vector<std::string> told;
    for (;;) {
      const AttachFeed::Next next = feed->TakeNext();
      if (next.end) told.push_back(next.end->ok() ? "end" : "failed");
      if (!next.item) return told;
      const AttachFeed::Item& item = *next.item;
      if (item.kind == AttachFeed::Item::Kind::kMessage) {
        last_ = item.message;
        told.push_back(
            absl::StrCat(item.message->method, " ", item.message->payload));
      } else if (item.kind == AttachFeed::Item::Kind::kCancelled) {
        told.push_back(
            absl::StrCat("cancelled ", static_cast<int>(item.cause)));
        EXPECT_NE(item.number, 0);
      } else if (item.kind == AttachFeed::Item::Kind::kReport) {
        told.push_back(absl::StrCat("report ", item.number, " ",
                                    static_cast<int>(item.outcome)));
      } else {
        told.push_back("event");
      }
    }
  }
  void Say(const Connected& c, const std::string& text,
           Opcode opcode = Opcode::kText) {
    hub_->shards()[c.shard]->OnMessage(c.slot, opcode, text);
    RunAll();
  }
  void Request(const Connected& c, const std::string& id,
               const std::string& method, const std::string& params = "[]") {
    Say(c, absl::StrCat(R"({"jsonrpc":"2.0","id":)", id, R"(,"method":")",
                        method, R"(","params":)", params, "}"));
  }
  void Notify(const Connected& c, const std::string& method,
              const std::string& params = "[]") {
    Say(c, absl::StrCat(R"({"jsonrpc":"2.0","method":")", method,
                        R"(","params":)", params, "}"));
  }
  // Replies to the last request that Told saw.
  void Reply(const AttachFeedPtr& feed, const std::string& json,
             uint64_t report = 0) {
    ReplyTo(feed, last_->id, json, report);
  }
  void ReplyTo(const AttachFeedPtr& feed, uint64_t id, const std::string& json,
               uint64_t report = 0) {
    hub_->Reply(feed, {id, false, json, report});
    RunAll();
  }
  // The payloads that a client was sent since.
  std::vector<std::string> Heard(const Connected& c) {
    std::vector<std::string> texts;
    for (const std::string& frame : SocketOf(c).sent) {
      texts.push_back(frame.substr(frame.size() < 128 ? 2 : 4));
    }
    SocketOf(c).sent.clear();
    return texts;
  }

  Hub::AskedPtr Ask(const Connected& c, const std::string& method = "m") {
    AskCommand command;
    command.method = method;
    outcome_.reset();
    auto asked = hub_->Ask(c.id, command, [this](absl::StatusOr<AskOutcome> o) {
      outcome_ = std::move(o);
    });
    RunAll();
    return asked;
  }

  ClientMessagePtr last_;
  std::optional<absl::StatusOr<AskOutcome>> outcome_;
};

}  // namespace broker::testing
