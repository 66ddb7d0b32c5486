#include "broker/registry/fence.h"

#include <algorithm>
#include <utility>

namespace broker {

bool RevocationTarget::CoversNamespace(absl::string_view ns) const {
  return namespaces.empty() || std::find(namespaces.begin(), namespaces.end(),
                                         ns) != namespaces.end();
}

bool RevocationTarget::Covers(const ConnectionInfo& c) const {
  if (!CoversNamespace(c.ns)) return false;
  if (within != nullptr && !within->Matches(c)) return false;
  if (kind == Kind::kFilter) return predicate->Matches(c);
  if (c.identity == nullptr) return false;
  switch (kind) {
    case Kind::kSession:
      return c.identity->token_hash() == key;
    case Kind::kToken:
      return c.identity->api_token_id() == key;
    case Kind::kAccount:
      return c.identity->account_id() == key &&
             !(keep_token_hash && c.identity->token_hash() == keep_token_hash);
    case Kind::kFilter:
      break;
  }
  return false;
}

bool Fence::Refuses(const ConnectionInfo& c, uint64_t verified_at_epoch,
                    MonotonicTime now) const {
  const bool blocks = blocks_until && now < *blocks_until;
  const bool by_epoch = target.kind != RevocationTarget::Kind::kFilter &&
                        verified_at_epoch < epoch;
  return (blocks || by_epoch) && target.Covers(c);
}

bool Fence::Closes(const ConnectionInfo& c, uint64_t verified_at_epoch,
                   MonotonicTime now) const {
  return target.kind == RevocationTarget::Kind::kFilter ||
         Refuses(c, verified_at_epoch, now);
}

FenceSet::ByKey& FenceSet::KeysOf(RevocationTarget::Kind kind) {
  switch (kind) {
    case RevocationTarget::Kind::kSession:
      return by_session_;
    case RevocationTarget::Kind::kToken:
      return by_token_;
    default:
      return by_account_;
  }
}

bool FenceSet::OfKey::Add(FencePtr fence) {
  if (fence->blocks_until) {
    blocking[{*fence->blocks_until, fence->epoch}] = fence;
  }
  return by_epoch.emplace(fence->epoch, std::move(fence)).second;
}

bool FenceSet::OfKey::Remove(const Fence& fence) {
  if (fence.blocks_until) blocking.erase({*fence.blocks_until, fence.epoch});
  return by_epoch.erase(fence.epoch) != 0;
}

const Fence* FenceSet::OfKey::FindRefusing(const ConnectionInfo& c,
                                           uint64_t verified_at_epoch,
                                           MonotonicTime now) const {
  // The newest first: it refuses all that those before it would, mostly.
  for (auto f = by_epoch.rbegin();
       f != by_epoch.rend() && f->first > verified_at_epoch; ++f) {
    if (f->second->Refuses(c, verified_at_epoch, now)) return f->second.get();
  }
  for (auto f = blocking.rbegin(); f != blocking.rend() && f->first.first > now;
       ++f) {
    if (f->second->Refuses(c, verified_at_epoch, now)) return f->second.get();
  }
  return nullptr;
}

void FenceSet::Add(FencePtr fence) {
  if (fence->target.kind == RevocationTarget::Kind::kFilter) {
    filters_.push_back(std::move(fence));
    ++size_;
    return;
  }
  OfKey& fences = KeysOf(fence->target.kind)[fence->target.key];
  size_ += fences.Add(std::move(fence));
}

void FenceSet::Remove(const Fence& fence) {
  if (fence.target.kind == RevocationTarget::Kind::kFilter) {
    size_ -= std::erase_if(
        filters_, [&](const FencePtr& f) { return f->epoch == fence.epoch; });
    return;
  }
  ByKey& keys = KeysOf(fence.target.kind);
  const auto it = keys.find(fence.target.key);
  if (it == keys.end()) return;
  size_ -= it->second.Remove(fence);
  if (it->second.by_epoch.empty()) keys.erase(it);
}

const Fence* FenceSet::FindRefusing(const ConnectionInfo& c,
                                    uint64_t verified_at_epoch,
                                    MonotonicTime now) const {
  const auto in_keys = [&](const ByKey& keys, absl::string_view key) {
    const auto it = keys.find(key);
    return it == keys.end()
               ? nullptr
               : it->second.FindRefusing(c, verified_at_epoch, now);
  };
  const Identity& identity = *c.identity;
  const Fence* found = in_keys(by_account_, identity.account_id());
  const auto session = identity.token_hash();
  if (found == nullptr && session) found = in_keys(by_session_, *session);
  const auto token = identity.api_token_id();
  if (found == nullptr && token) found = in_keys(by_token_, *token);
  if (found != nullptr) return found;
  for (const FencePtr& f : filters_) {
    if (f->Refuses(c, verified_at_epoch, now)) return f.get();
  }
  return nullptr;
}

const Fence* FenceSet::FindFilterEntered(const ConnectionInfo& before,
                                         const ConnectionInfo& after,
                                         MonotonicTime now) const {
  for (const FencePtr& f : filters_) {
    if (now < *f->blocks_until && f->target.Covers(after) &&
        !f->target.Covers(before)) {
      return f.get();
    }
  }
  return nullptr;
}

}  // namespace broker
