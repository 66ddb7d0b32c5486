// The planner: how a predicate finds its connections. It takes the cheapest of
// the predicate's pins when that is cheaper than looking at every connection,
// and evaluates the predicate on what is left.

#include <algorithm>
#include <limits>

#include "absl/status/statusor.h"
#include "broker/registry/registry.h"

namespace broker {

bool Registry::Candidates(const Namespace& ns, const Predicate& predicate,
                          std::vector<Slot>& out) const {
  const auto cost = [&](const Pin& pin) {
    size_t sum = 0;
    for (const PinTerm& term : pin) {
      if (term.field == IndexedField::kConnectionId) {
        ++sum;
      } else if (const SlotSet* set = ns.Find(term.field, term.value)) {
        sum += set->slots.size();
      }
    }
    return sum;
  };
  const Pin* best = nullptr;
  size_t best_cost = ns.by_id.size();
  for (const Pin& pin : predicate.pins()) {
    if (const size_t c = cost(pin); c < best_cost) {
      best = &pin;
      best_cost = c;
    }
  }
  if (best == nullptr) return false;
  for (const PinTerm& term : *best) {
    if (term.field == IndexedField::kConnectionId) {
      const absl::StatusOr<Uuid> id = Uuid::Parse(term.value);
      const auto it = id.ok() ? ns.by_id.find(*id) : ns.by_id.end();
      if (it != ns.by_id.end()) out.push_back(it->second);
    } else if (const SlotSet* set = ns.Find(term.field, term.value)) {
      out.insert(out.end(), set->slots.begin(), set->slots.end());
    }
  }
  if (best->size() > 1) {  // A connection may be in several of the sets.
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
  }
  return true;
}

void Registry::SelectIn(const Namespace& ns, const Predicate& predicate,
                        States states, std::vector<Slot>& out) const {
  std::vector<Slot> candidates;
  if (!predicate.matches_all() && Candidates(ns, predicate, candidates)) {
    for (const Slot slot : candidates) {
      if (states.Has(states_[slot]) &&
          predicate.Matches(*entries_[slot].info)) {
        out.push_back(slot);
      }
    }
    return;
  }
  for (const ConnectionState state :
       {ConnectionState::kPending, ConnectionState::kAdmitted,
        ConnectionState::kClosing}) {
    if (!states.Has(state)) continue;
    const auto& slots = ns.by_state[static_cast<size_t>(state)].slots;
    if (predicate.matches_all()) {
      out.insert(out.end(), slots.begin(), slots.end());
      continue;
    }
    Scan(slots, predicate, out);
  }
}

// Of each connection three places are looked at, and none is in the cache when
// there are many: they are asked for some connections ahead.
void Registry::Scan(absl::Span<const Slot> slots, const Predicate& predicate,
                    std::vector<Slot>& out) const {
  constexpr size_t kAhead = 8;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (i + 3 * kAhead < slots.size()) {
      __builtin_prefetch(&entries_[slots[i + 3 * kAhead]]);
    }
    if (i + 2 * kAhead < slots.size()) {
      __builtin_prefetch(entries_[slots[i + 2 * kAhead]].info.get());
    }
    if (i + kAhead < slots.size()) {
      __builtin_prefetch(entries_[slots[i + kAhead]].info->identity.get());
    }
    if (predicate.Matches(*entries_[slots[i]].info)) out.push_back(slots[i]);
  }
}

void Registry::Select(const std::optional<std::string>& ns,
                      const Predicate& predicate, States states,
                      std::vector<Slot>& out) const {
  for (const auto& [name, space] : namespaces_) {
    if (!ns || *ns == name) SelectIn(space, predicate, states, out);
  }
}

void Registry::Select(const RevocationTarget& target, States states,
                      std::vector<Slot>& out) const {
  if (target.kind == RevocationTarget::Kind::kFilter) {
    const PredicatePtr covered =
        Predicate::Both(target.predicate, target.within);
    for (const auto& [name, space] : namespaces_) {
      if (target.CoversNamespace(name)) SelectIn(space, *covered, states, out);
    }
    return;
  }
  static constexpr auto kField = [](RevocationTarget::Kind kind) {
    return kind == RevocationTarget::Kind::kSession ? IndexedField::kTokenHash
           : kind == RevocationTarget::Kind::kToken ? IndexedField::kApiTokenId
                                                    : IndexedField::kAccountId;
  };
  for (const auto& [name, space] : namespaces_) {
    const SlotSet* set = space.Find(kField(target.kind), target.key);
    if (set == nullptr) continue;
    for (const Slot slot : set->slots) {
      if (states.Has(states_[slot]) && target.Covers(*entries_[slot].info)) {
        out.push_back(slot);
      }
    }
  }
}

void Registry::SelectAccount(absl::string_view ns, absl::string_view account_id,
                             States states, std::vector<Slot>& out) const {
  const Namespace* space = FindNamespace(ns);
  if (space == nullptr) return;
  const SlotSet* set = space->Find(IndexedField::kAccountId, account_id);
  if (set == nullptr) return;
  for (const Slot slot : set->slots) {
    if (states.Has(states_[slot])) out.push_back(slot);
  }
}

std::vector<ConnectionInfoPtr> Registry::Page(absl::string_view ns,
                                              const Predicate& predicate,
                                              States states,
                                              const ConnectionId& after,
                                              size_t limit) const {
  std::vector<ConnectionInfoPtr> page;
  const Namespace* space = FindNamespace(ns);
  if (space == nullptr) return page;
  const auto fits = [&](const ConnectionInfo& info) {
    return states.Has(info.state) && predicate.Matches(info);
  };
  std::vector<Slot> candidates;
  if (!predicate.matches_all() && Candidates(*space, predicate, candidates)) {
    for (const Slot slot : candidates) {
      const ConnectionInfoPtr& info = entries_[slot].info;
      if (info->id > after && fits(*info)) page.push_back(info);
    }
    std::sort(page.begin(), page.end(),
              [](const auto& a, const auto& b) { return a->id < b->id; });
    if (page.size() > limit) page.resize(limit);
    return page;
  }
  for (auto it = space->by_id.upper_bound(after);
       it != space->by_id.end() && page.size() < limit; ++it) {
    const ConnectionInfoPtr& info = entries_[it->second].info;
    if (fits(*info)) page.push_back(info);
  }
  return page;
}

}  // namespace broker
