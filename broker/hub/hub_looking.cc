// The part of the hub that looks: get, list, count, watch.

#include <algorithm>
#include <iterator>
#include <utility>

#include "broker/hub/fan_out.h"
#include "broker/hub/hub.h"

namespace broker {

void Hub::Get(const ConnectionId& id, Done<ConnectionDetails> done,
              ReachPtr within) {
  OnOwner(
      id,
      [id, within = std::move(within)](Shard& s) {
        return s.Get(id, within.get());
      },
      std::move(done));
}

void Hub::List(ListCommand command, Done<std::vector<ConnectionInfoPtr>> done) {
  using Page = std::vector<ConnectionInfoPtr>;
  const size_t limit = command.limit;
  OnAll([command = std::move(command)](Shard& s) { return s.List(command); },
        [limit, done = std::move(done)](Parts<Page> parts) mutable {
          if (!parts.ok()) return done(parts.status());
          Page all;
          for (Page& part : *parts) {
            std::move(part.begin(), part.end(), std::back_inserter(all));
          }
          std::sort(all.begin(), all.end(),
                    [](const auto& a, const auto& b) { return a->id < b->id; });
          if (all.size() > limit) all.resize(limit);
          done(std::move(all));
        });
}

void Hub::Count(std::string ns, PredicatePtr predicate, Done<uint64_t> done) {
  OnAll([ns = std::move(ns), predicate = std::move(predicate)](
            Shard& s) { return s.Count(ns, *predicate); },
        Summed(std::move(done)));
}

void Hub::CountByNamespace(Done<std::map<std::string, Registry::Counts>> done,
                           ReachPtr within) {
  using Counts = std::map<std::string, Registry::Counts>;
  OnAll([within](Shard& s) { return s.CountByNamespace(within.get()); },
        [done = std::move(done), within,
         names = settings()->Namespaces()](Parts<Counts> parts) mutable {
          if (!parts.ok()) return done(parts.status());
          Counts sum;
          for (const std::string& name : names) {
            if (within == nullptr || within->HasNamespace(name)) sum[name];
          }
          for (const Counts& part : *parts) {
            for (const auto& [name, counts] : part) {
              sum[name].pending += counts.pending;
              sum[name].admitted += counts.admitted;
              sum[name].closing += counts.closing;
            }
          }
          done(std::move(sum));
        });
}

std::shared_ptr<WatchFeed> Hub::Watch(WatchSpec spec) {
  auto feed = std::make_shared<WatchFeed>(std::move(spec), shards_.size());
  OnAll(
      [feed](Shard& s) {
        s.Watch(feed);
        return true;
      },
      [feed](Parts<bool> parts) {
        if (parts.ok()) {
          feed->EndSnapshot();
        } else {
          feed->Fail(parts.status());
        }
      });
  return feed;
}

std::shared_ptr<WatchFeed> Hub::WatchFrom(WatchSpec spec,
                                          std::vector<uint64_t> positions) {
  auto feed = std::make_shared<WatchFeed>(std::move(spec), positions);
  for (size_t i = 0; i < shards_.size(); ++i) {
    Post(i, [feed, position = positions[i], shard = shards_[i].get()] {
      const absl::Status status = shard->WatchFrom(feed, position);
      if (!status.ok()) feed->Fail(status);
    });
  }
  return feed;
}

}  // namespace broker
