// What the hub does about memory.

#include <algorithm>
#include <utility>

#include "broker/hub/fan_out.h"
#include "broker/hub/hub.h"

namespace broker {

void Hub::SetMemory(const MemoryStatus& memory) {
  {
    MutexLock lock(mu_);
    memory_ = memory;
  }
  shared_.memory_level.store(memory.level, std::memory_order_relaxed);
}

MemoryStatus Hub::memory() const {
  MutexLock lock(mu_);
  return memory_;
}

void Hub::Shed(uint64_t bytes, Done<uint64_t> done) {
  OnAll([](Shard& s) { return s.LargestOutboxes(); },
        [this, bytes,
         done = std::move(done)](Parts<std::vector<OutboxSize>> parts) mutable {
          if (!parts.ok()) return done(parts.status());
          std::vector<OutboxSize> all;
          for (const auto& part : *parts) {
            all.insert(all.end(), part.begin(), part.end());
          }
          std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
            return a.bytes > b.bytes;
          });
          std::vector<std::vector<ConnectionId>> ids(shards_.size());
          uint64_t sum = 0;
          for (const OutboxSize& outbox : all) {
            if (sum >= bytes) break;
            sum += outbox.bytes;
            ids[outbox.id.tag() % ids.size()].push_back(outbox.id);
          }
          OnAll([ids = std::move(ids)](
                    Shard& s) { return s.Shed(ids[s.index()]); },
                Summed<uint64_t>(std::move(done)));
        });
}

}  // namespace broker
