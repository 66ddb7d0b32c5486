// Registry: the connections of one shard, with the indexes that make a
// selection cost in proportion to what it can match.
//
// Confined to its shard's thread.

#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/container/node_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "broker/core/identity.h"
#include "broker/filter/pin.h"
#include "broker/filter/predicate.h"
#include "broker/registry/fence.h"
#include "broker/registry/reach.h"
#include "broker/registry/slot.h"

namespace broker {

// A set of connection states.
class States {
 public:
  constexpr States() = default;
  constexpr States(std::initializer_list<ConnectionState> states) {
    for (const ConnectionState s : states) Add(s);
  }
  static constexpr States All() {
    return {ConnectionState::kPending, ConnectionState::kAdmitted,
            ConnectionState::kClosing};
  }
  // Those that a close acts on and counts.
  static constexpr States Open() {
    return {ConnectionState::kPending, ConnectionState::kAdmitted};
  }
  constexpr void Add(ConnectionState s) { bits_ |= 1u << static_cast<int>(s); }
  constexpr bool Has(ConnectionState s) const {
    return (bits_ >> static_cast<int>(s)) & 1u;
  }
  constexpr bool empty() const { return bits_ == 0; }

 private:
  unsigned bits_ = 0;
};

class Registry {
 public:
  struct Counts {
    uint64_t pending = 0;
    uint64_t admitted = 0;
    uint64_t closing = 0;
  };

  void Insert(Slot slot, ConnectionInfoPtr info);
  // The same connection, changed: its id and namespace stay.
  void Replace(Slot slot, ConnectionInfoPtr info);
  void Erase(Slot slot);

  // The slot must be in use.
  const ConnectionInfoPtr& Get(Slot slot) const { return entries_[slot].info; }
  bool Has(Slot slot) const {
    return slot < entries_.size() && entries_[slot].info != nullptr;
  }
  std::optional<Slot> Find(const ConnectionId& id) const;

  // Appends the connections in those states that the predicate matches, in no
  // particular order, each once. An unset namespace means all of them.
  void Select(const std::optional<std::string>& ns, const Predicate& predicate,
              States states, std::vector<Slot>& out) const;
  // The same for what a revocation covers.
  void Select(const RevocationTarget& target, States states,
              std::vector<Slot>& out) const;
  // The same for an account in a namespace.
  void SelectAccount(absl::string_view ns, absl::string_view account_id,
                     States states, std::vector<Slot>& out) const;

  // Up to `limit` connections that match with an id after `after`, in the order
  // of their ids.
  std::vector<ConnectionInfoPtr> Page(absl::string_view ns,
                                      const Predicate& predicate, States states,
                                      const ConnectionId& after,
                                      size_t limit) const;

  // All of a namespace in one state, as a contiguous array. Valid until the
  // next change.
  absl::Span<const Slot> InState(absl::string_view ns,
                                 ConnectionState state) const;

  // Of what is within reach; null: of everything.
  std::map<std::string, Counts> CountByNamespace(const Reach* within) const;
  size_t size() const { return size_; }

 private:
  // The slots that share one key of one index, as an array; each member knows
  // its place in it, so that joining and leaving cost no search.
  struct SlotSet {
    absl::InlinedVector<Slot, 4> slots;
  };
  using ByKey = absl::node_hash_map<std::string, SlotSet>;
  struct Namespace {
    SlotSet& In(ConnectionState state) {
      return by_state[static_cast<size_t>(state)];
    }
    ByKey& By(IndexedField field) { return by_key[static_cast<size_t>(field)]; }
    // Null when there is none.
    const SlotSet* Find(IndexedField field, absl::string_view key) const;

    std::array<SlotSet, 3> by_state;
    std::array<ByKey, kIdentityIndexes> by_key;
    absl::btree_map<ConnectionId, Slot> by_id;
  };
  // What an identity has in an index. The text is the identity's own.
  struct Key {
    IndexedField field;
    absl::string_view text;
    friend bool operator<(const Key& a, const Key& b) {
      return std::tie(a.field, a.text) < std::tie(b.field, b.text);
    }
  };
  struct Membership {
    SlotSet* set;
    uint32_t place;
  };
  // The state, the account, a session or a token, two groups.
  using Memberships = absl::InlinedVector<Membership, 5>;
  using Keys = absl::InlinedVector<Key, 5>;
  struct Entry {
    ConnectionInfoPtr info;
    Namespace* ns = nullptr;
    Memberships memberships;  // of the state, then of KeysOf the info
  };

  // In an order in which two lists can be merged: that of the indexes, and of
  // the texts within one.
  static Keys KeysOf(const ConnectionInfo& info);
  static Membership Join(Slot slot, SlotSet& set);
  void Leave(const Membership& membership);
  void MoveTo(Slot slot, ConnectionState state);
  // Leaves the sets that are in `before` only, which is KeysOf the entry's
  // info, and joins those that are in `after` only. The others it does not
  // touch, so that it costs in proportion to the change.
  void ChangeKeys(Slot slot, const Keys& before, const Keys& after);
  void Scan(absl::Span<const Slot> slots, const Predicate& predicate,
            std::vector<Slot>& out) const;
  void SelectIn(const Namespace& ns, const Predicate& predicate, States states,
                std::vector<Slot>& out) const;
  // The candidates of the cheapest pin, each once; false when looking at every
  // connection is no dearer.
  bool Candidates(const Namespace& ns, const Predicate& predicate,
                  std::vector<Slot>& out) const;
  const Namespace* FindNamespace(absl::string_view ns) const;

  std::vector<Entry> entries_;
  // By slot, as in its info: without a look at that, which is far away.
  std::vector<ConnectionState> states_;
  absl::node_hash_map<std::string, Namespace> namespaces_;
  size_t size_ = 0;
};

}  // namespace broker
