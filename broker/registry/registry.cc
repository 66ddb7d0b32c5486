#include "broker/registry/registry.h"

#include <algorithm>
#include <cassert>

namespace broker {

// ---- membership -----------------------------------------------------------

void Registry::Join(Slot slot, SlotSet& set) {
  entries_[slot].memberships.push_back(
      {&set, static_cast<uint32_t>(set.slots.size())});
  set.slots.push_back(slot);
}

void Registry::Leave(Slot slot, size_t membership) {
  const Membership m = entries_[slot].memberships[membership];
  // The last one moves into the gap, and is told so.
  const Slot moved = m.set->slots.back();
  m.set->slots[m.place] = moved;
  m.set->slots.pop_back();
  for (Membership& other : entries_[moved].memberships) {
    if (other.set == m.set) other.place = m.place;
  }
}

void Registry::LeaveKey(Slot slot, size_t membership, ByKey& index,
                        const std::string& key) {
  const SlotSet* set = entries_[slot].memberships[membership].set;
  Leave(slot, membership);
  if (set->slots.empty()) index.erase(key);
}

void Registry::JoinKey(Slot slot, ByKey& index, const std::string& key) {
  Join(slot, index[key]);
}

// In one fixed order, which LeaveIndexes relies on.
void Registry::JoinIndexes(Slot slot) {
  Entry& entry = entries_[slot];
  Namespace& ns = *entry.ns;
  states_[slot] = entry.info->state;
  Join(slot, ns.by_state[static_cast<size_t>(entry.info->state)]);
  if (entry.info->identity == nullptr) return;
  const Identity& identity = *entry.info->identity;
  JoinKey(slot, ns.by_account, identity.account_id);
  if (identity.token_hash) JoinKey(slot, ns.by_session, *identity.token_hash);
  if (identity.api_token_id) JoinKey(slot, ns.by_token, *identity.api_token_id);
  for (const std::string& g : identity.groups) JoinKey(slot, ns.by_group, g);
}

void Registry::LeaveIndexes(Slot slot) {
  Entry& entry = entries_[slot];
  size_t at = 0;
  Leave(slot, at++);
  if (entry.info->identity != nullptr) {
    Namespace& ns = *entry.ns;
    const Identity& identity = *entry.info->identity;
    LeaveKey(slot, at++, ns.by_account, identity.account_id);
    if (identity.token_hash) {
      LeaveKey(slot, at++, ns.by_session, *identity.token_hash);
    }
    if (identity.api_token_id) {
      LeaveKey(slot, at++, ns.by_token, *identity.api_token_id);
    }
    for (const std::string& g : identity.groups) {
      LeaveKey(slot, at++, ns.by_group, g);
    }
  }
  entry.memberships.clear();
}

void Registry::Insert(Slot slot, ConnectionInfoPtr info) {
  if (slot >= entries_.size()) {
    entries_.resize(slot + 1);
    states_.resize(slot + 1);
  }
  assert(entries_[slot].info == nullptr);
  Entry& entry = entries_[slot];
  entry.ns = &namespaces_[info->ns];
  entry.ns->by_id[info->id] = slot;
  entry.info = std::move(info);
  JoinIndexes(slot);
  ++size_;
}

void Registry::Replace(Slot slot, ConnectionInfoPtr info) {
  Entry& entry = entries_[slot];
  if (entry.info->identity == info->identity) {
    // Only the state may differ: one set to leave and one to join.
    Membership& by_state = entry.memberships.front();
    SlotSet& to = entry.ns->by_state[static_cast<size_t>(info->state)];
    states_[slot] = info->state;
    if (by_state.set != &to) {
      Leave(slot, 0);
      by_state.set = &to;
      by_state.place = static_cast<uint32_t>(to.slots.size());
      to.slots.push_back(slot);
    }
    entry.info = std::move(info);
    return;
  }
  LeaveIndexes(slot);
  entry.info = std::move(info);
  JoinIndexes(slot);
}

void Registry::Erase(Slot slot) {
  LeaveIndexes(slot);
  Entry& entry = entries_[slot];
  entry.ns->by_id.erase(entry.info->id);
  entry.info = nullptr;
  entry.ns = nullptr;
  --size_;
}

// ---- looking --------------------------------------------------------------

const Registry::Namespace* Registry::FindNamespace(absl::string_view ns) const {
  const auto it = namespaces_.find(ns);
  return it == namespaces_.end() ? nullptr : &it->second;
}

std::optional<Slot> Registry::Find(const ConnectionId& id) const {
  for (const auto& [name, ns] : namespaces_) {
    const auto it = ns.by_id.find(id);
    if (it != ns.by_id.end()) return it->second;
  }
  return std::nullopt;
}

absl::Span<const Slot> Registry::InState(absl::string_view ns,
                                         ConnectionState state) const {
  const Namespace* found = FindNamespace(ns);
  if (found == nullptr) return {};
  return found->by_state[static_cast<size_t>(state)].slots;
}

std::map<std::string, Registry::Counts> Registry::CountByNamespace() const {
  const auto size = [](const Namespace& ns, ConnectionState s) {
    return ns.by_state[static_cast<size_t>(s)].slots.size();
  };
  std::map<std::string, Counts> counts;
  for (const auto& [name, ns] : namespaces_) {
    counts[name] = {size(ns, ConnectionState::kPending),
                    size(ns, ConnectionState::kAdmitted),
                    size(ns, ConnectionState::kClosing)};
  }
  return counts;
}

}  // namespace broker
