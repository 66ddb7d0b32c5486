#include "broker/registry/registry.h"

#include <algorithm>
#include <cassert>

namespace broker {

// ---- membership -----------------------------------------------------------

Registry::Keys Registry::KeysOf(const ConnectionInfo& info) {
  Keys keys;
  if (info.identity == nullptr) return keys;
  const Identity& identity = *info.identity;
  keys.push_back({IndexedField::kAccountId, identity.account_id()});
  if (const auto key = identity.token_hash()) {
    keys.push_back({IndexedField::kTokenHash, *key});
  }
  if (const auto key = identity.api_token_id()) {
    keys.push_back({IndexedField::kApiTokenId, *key});
  }
  for (size_t i = 0; i < identity.group_count(); ++i) {
    keys.push_back({IndexedField::kGroup, identity.group(i)});
  }
  return keys;
}

Registry::Membership Registry::Join(Slot slot, SlotSet& set) {
  set.slots.push_back(slot);
  return {&set, static_cast<uint32_t>(set.slots.size() - 1)};
}

void Registry::Leave(const Membership& membership) {
  SlotSet& set = *membership.set;
  // The last one moves into the gap, and is told so.
  const Slot moved = set.slots.back();
  set.slots[membership.place] = moved;
  set.slots.pop_back();
  for (Membership& other : entries_[moved].memberships) {
    if (other.set == &set) other.place = membership.place;
  }
}

void Registry::MoveTo(Slot slot, ConnectionState state) {
  Entry& entry = entries_[slot];
  states_[slot] = state;
  SlotSet& to = entry.ns->In(state);
  Membership& by_state = entry.memberships.front();
  if (by_state.set == &to) return;
  Leave(by_state);
  by_state = Join(slot, to);
}

void Registry::ChangeKeys(Slot slot, const Keys& before, const Keys& after) {
  Entry& entry = entries_[slot];
  Namespace& ns = *entry.ns;
  Memberships next = {entry.memberships.front()};
  auto old = before.begin();
  auto kept = entry.memberships.begin() + 1;  // that of `old`
  for (auto key = after.begin(); old != before.end() || key != after.end();) {
    if (key == after.end() || (old != before.end() && *old < *key)) {
      const Membership left = *kept++;
      Leave(left);
      if (left.set->slots.empty()) ns.By(old->field).erase(old->text);
      ++old;
    } else if (old == before.end() || *key < *old) {
      next.push_back(Join(slot, ns.By(key->field)[key->text]));
      ++key;
    } else {
      next.push_back(*kept++);
      ++old;
      ++key;
    }
  }
  entry.memberships = std::move(next);
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
  states_[slot] = info->state;
  entry.memberships = {Join(slot, entry.ns->In(info->state))};
  ChangeKeys(slot, {}, KeysOf(*info));
  entry.info = std::move(info);
  ++size_;
}

void Registry::Replace(Slot slot, ConnectionInfoPtr info) {
  Entry& entry = entries_[slot];
  MoveTo(slot, info->state);
  if (entry.info->identity != info->identity) {
    ChangeKeys(slot, KeysOf(*entry.info), KeysOf(*info));
  }
  entry.info = std::move(info);
}

void Registry::Erase(Slot slot) {
  Entry& entry = entries_[slot];
  ChangeKeys(slot, KeysOf(*entry.info), {});
  Leave(entry.memberships.front());
  entry.ns->by_id.erase(entry.info->id);
  entry.info = nullptr;
  entry.memberships.clear();
  --size_;
}

// ---- looking --------------------------------------------------------------

const Registry::SlotSet* Registry::Namespace::Find(
    IndexedField field, absl::string_view key) const {
  const ByKey& index = by_key[static_cast<size_t>(field)];
  const auto it = index.find(key);
  return it == index.end() ? nullptr : &it->second;
}

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

std::map<std::string, Registry::Counts> Registry::CountByNamespace(
    const Reach* within) const {
  const auto size = [&](const Namespace& ns, ConnectionState s) {
    if (within == nullptr || within->filter == nullptr) {
      return ns.by_state[static_cast<size_t>(s)].slots.size();
    }
    std::vector<Slot> slots;
    SelectIn(ns, *within->filter, {s}, slots);
    return slots.size();
  };
  std::map<std::string, Counts> counts;
  for (const auto& [name, ns] : namespaces_) {
    if (within != nullptr && !within->HasNamespace(name)) continue;
    counts[name] = {size(ns, ConnectionState::kPending),
                    size(ns, ConnectionState::kAdmitted),
                    size(ns, ConnectionState::kClosing)};
  }
  return counts;
}

}  // namespace broker
