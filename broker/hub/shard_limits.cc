// Places of accounts, rates of messages, and what goes when memory is short, on
// one shard.

#include <algorithm>
#include <utility>

#include "broker/hub/shard.h"

namespace broker {

AccountLease Shard::JoinAccount(const std::string& ns,
                                absl::string_view account_id) {
  AccountPlaces::Joined joined = shared_.accounts.Join(ns, account_id, index_);
  for (const uint8_t shard : joined.shards_to_tell) {
    shared_.close_evicted(shard, ns, std::string(account_id));
  }
  return std::move(joined.lease);
}

void Shard::CloseEvicted(const std::string& ns, const std::string& account_id) {
  on_shard_.AssertHeld();
  std::vector<Slot> slots;
  registry_.SelectAccount(ns, account_id, {ConnectionState::kAdmitted}, slots);
  for (const Slot slot : slots) {
    if (sessions_[slot]->account.evicted()) {
      Close(slot, CloseCode::kConnectionLimit);
    }
  }
}

void Shard::OnHeartbeatTimeout(Slot slot) {
  on_shard_.AssertHeld();
  Close(slot, CloseCode::kHeartbeatTimeout);
}

void Shard::OnPingFlood(Slot slot) {
  on_shard_.AssertHeld();
  Close(slot, CloseCode::kPolicy);
}

void Shard::OnSlowConsumer(Slot slot) {
  on_shard_.AssertHeld();
  Close(slot, CloseCode::kSlowConsumer);
}

void Shard::OnMessageTimeout(Slot slot) {
  on_shard_.AssertHeld();
  Close(slot, CloseCode::kPolicy);
}

bool Shard::WithinRate(Slot slot, size_t bytes) {
  MessageRate* rate = sessions_[slot]->rate.get();
  return rate == nullptr || rate->Take(bytes, shared_.clock.Monotonic());
}

std::vector<OutboxSize> Shard::LargestOutboxes() {
  on_shard_.AssertHeld();
  std::vector<Slot> slots;
  registry_.Select(std::nullopt, *Predicate::All(), States::Open(), slots);
  std::vector<OutboxSize> sizes;
  for (const Slot slot : slots) {
    const uint64_t bytes = transport_.Outbox(slot).now;
    if (bytes > 0) sizes.push_back({Info(slot).id, bytes});
  }
  const auto larger = [](const OutboxSize& a, const OutboxSize& b) {
    return a.bytes > b.bytes;
  };
  if (sizes.size() > kMaxShed) {
    std::nth_element(sizes.begin(), sizes.begin() + kMaxShed, sizes.end(),
                     larger);
    sizes.resize(kMaxShed);
  }
  return sizes;
}

uint64_t Shard::Shed(const std::vector<ConnectionId>& ids) {
  on_shard_.AssertHeld();
  uint64_t closed = 0;
  for (const ConnectionId& id : ids) {
    const absl::StatusOr<Slot> slot = FindOpen(id);
    if (slot.ok()) closed += Close(*slot, CloseCode::kTryAgainLater);
  }
  stats_.connections_shed.Add(closed);
  return closed;
}

}  // namespace broker
