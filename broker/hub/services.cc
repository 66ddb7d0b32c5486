#include "broker/hub/services.h"

#include <algorithm>
#include <limits>

#include "absl/hash/hash.h"

namespace broker {
namespace {

using Sticky = MessageSpec::Sticky;

bool IsSticky(const AttachFeed& feed, Sticky how) {
  return feed.spec().messages->sticky == how;
}

}  // namespace

void Services::Add(const AttachFeedPtr& feed) {
  feeds_[feed->number()] = feed;
  by_namespace_[feed->spec().ns].Add(feed->number(),
                                     feed->spec().messages->methods);
}

void Services::Remove(const AttachFeed& feed) {
  if (feeds_.erase(feed.number()) == 0) return;
  const auto table = by_namespace_.find(feed.spec().ns);
  table->second.Remove(feed.number());
  if (table->second.empty()) by_namespace_.erase(table);
}

Services::Routed Services::Route(const ClientMessagePtr& message,
                                 const WaitingLimits& limits,
                                 StickyServices& sticky, AttachFeedPtr& feed) {
  const auto table = by_namespace_.find(message->from->ns);
  if (table == by_namespace_.end()) return Routed::kNobody;
  const auto takes = [&](uint64_t number) {
    const AttachFeed& f = *feeds_.at(number);
    const PredicatePtr& from = f.spec().messages->from;
    return f.accepts_messages() &&
           (from == nullptr || from->Matches(*message->from));
  };
  MethodTable::Match match = table->second.Find(message->method, takes);
  if (match.services.empty()) return Routed::kNobody;
  while (!match.services.empty()) {
    feed = Choose(match.services, match.pattern, *message, sticky);
    if (feed->Push(message, limits)) {
      if (IsSticky(*feed, Sticky::kConnection)) {
        std::erase_if(sticky,
                      [&](const auto& s) { return s.first == match.pattern; });
        sticky.emplace_back(match.pattern, feed);
      }
      return Routed::kTaken;
    }
    // Who is to stay with a service waits for it.
    if (!IsSticky(*feed, Sticky::kNone)) break;
    std::erase(match.services, feed->number());
  }
  return Routed::kFull;
}

AttachFeedPtr Services::Choose(const Candidates& candidates,
                               absl::string_view pattern,
                               const ClientMessage& message,
                               const StickyServices& sticky) const {
  for (const auto& [begun, with] : sticky) {
    AttachFeedPtr feed = begun == pattern ? with.lock() : nullptr;
    if (feed != nullptr && std::find(candidates.begin(), candidates.end(),
                                     feed->number()) != candidates.end()) {
      return feed;
    }
  }
  // The highest hash of account and service: each shard comes to the same, and
  // of a service that comes or goes only its own share moves.
  AttachFeedPtr best;
  size_t highest = 0;
  for (const uint64_t candidate : candidates) {
    const AttachFeedPtr& feed = feeds_.at(candidate);
    if (!IsSticky(*feed, Sticky::kAccount)) continue;
    const size_t hash =
        absl::HashOf(message.from->identity->account_id(), feed->number());
    if (best == nullptr || hash > highest) {
      best = feed;
      highest = hash;
    }
  }
  return best != nullptr ? best : MostRoom(candidates);
}

AttachFeedPtr Services::MostRoom(const Candidates& candidates) const {
  const size_t first = turn_++ % candidates.size();
  const AttachFeedPtr* best = nullptr;
  int64_t most = std::numeric_limits<int64_t>::min();
  for (size_t i = 0; i < candidates.size(); ++i) {
    const AttachFeedPtr& feed =
        feeds_.at(candidates[(first + i) % candidates.size()]);
    const int64_t room = feed->room();
    if (best != nullptr && room <= most) continue;
    best = &feed;
    most = room;
  }
  return *best;
}

}  // namespace broker
