// Requests to clients.

#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"
#include "broker/hub/fan_out.h"
#include "broker/hub/hub.h"

namespace broker {

Hub::AskedPtr Hub::Ask(const ConnectionId& id, AskCommand command,
                       Done<AskOutcome> done, ReachPtr within) {
  auto asked = std::make_shared<Asked>();
  asked->id = id;
  const size_t owner = id.tag() % shards_.size();
  // Answers when the shard has ended, too.
  const auto answer = std::make_shared<Answer<AskOutcome>>(std::move(done));
  Post(owner, [asked, answer, command = std::move(command),
               within = std::move(within), shard = shards_[owner].get()] {
    const auto number = shard->Ask(
        asked->id, command,
        [answer](AskOutcome outcome) { answer->Give(std::move(outcome)); },
        within.get());
    if (number.ok()) {
      asked->number = *number;
    } else {
      answer->Give(number.status());
    }
  });
  return asked;
}

void Hub::Unask(const AskedPtr& asked) {
  const size_t owner = asked->id.tag() % shards_.size();
  // Behind the task that asks.
  Post(owner, [asked, shard = shards_[owner].get()] {
    shard->Unask(asked->id, asked->number);
  });
}

AskFeedPtr Hub::AskFiltered(AskFilteredCommand command) {
  auto feed = std::make_shared<AskFeed>(command.max_results, shards_.size());
  feed->OnGiveUp([this, feed = std::weak_ptr<AskFeed>(feed)] {
    const AskFeedPtr held = feed.lock();
    if (held == nullptr) return;
    for (size_t i = 0; i < shards_.size(); ++i) {
      Post(i, [held, shard = shards_[i].get()] { shard->UnaskAll(*held); });
    }
  });
  SendCommand who;
  who.ns = command.ns;
  who.predicate = command.predicate;
  who.exclude = command.exclude;
  auto count = [who = std::move(who)](Shard& s) {
    return s.CountRecipients(who);
  };
  auto ask = [this, feed,
              command = std::move(command)](absl::StatusOr<uint64_t> matched) {
    if (!matched.ok()) return feed->Fail(matched.status());
    if (*matched > AskFilteredCommand::kMaxAsked) {
      return feed->Fail(WithReason(
          absl::ResourceExhaustedError(absl::StrCat(
              *matched, " connections match, and at most ",
              AskFilteredCommand::kMaxAsked,
              " are asked in one call: nobody was asked. Ask fewer")),
          "TOO_MANY_OUTCOMES"));
    }
    OnAll([feed, command](Shard& s) { return s.AskFiltered(command, feed); },
          Summed<uint64_t>([feed](absl::StatusOr<uint64_t> asked) {
            if (!asked.ok()) return feed->Fail(asked.status());
            feed->Expect(*asked);
          }));
  };
  OnAll(std::move(count), Summed<uint64_t>(std::move(ask)));
  return feed;
}

}  // namespace broker
