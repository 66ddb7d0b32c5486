// Revocations, closes, and what has to hold after every step.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/races/specification.h"

namespace broker::races {

// ---- revocations ------------------------------------------------------------

size_t Specification::Revoking(const Revoke& revoke) {
  Revocation& r = revocations_.emplace_back();
  r.what = revoke;
  r.asked = now_;
  r.epoch_before = epoch_;
  for (size_t c = 0; c < connections_.size(); ++c) {
    const Connection& it = connections_[c];
    if (it.state != State::kGone && !Spares(r, c) &&
        Covers(revoke.target, it.ns, it.who)) {
      r.covered.push_back(c);
    }
  }
  return revocations_.size() - 1;
}

void Specification::Revoked(size_t index, uint64_t closed, uint64_t epoch,
                            bool written) {
  Revocation& r = revocations_[index];
  if (r.answered) return Fail(absl::StrCat("r", index, " is answered twice"));
  r.answered = true;
  r.answered_at = now_;
  r.answered_in_step = step_;
  r.written = written;
  r.epoch = epoch;
  if (closed != r.closes.size()) {
    Fail(absl::StrCat("r", index, " says that it closed ", closed,
                      " connections, and it closed ", r.closes.size()));
  }
  for (const auto& [c, verified_at] : r.closes) {
    if (r.SparesLater(verified_at)) {
      FailAt(c, absl::StrCat("was verified after r", index,
                             ", and is closed by it"));
    }
  }
  if (r.what.fence ? epoch <= r.epoch_before : epoch < r.epoch_before) {
    Fail(absl::StrCat("r", index, " has an epoch from before it was asked"));
  }
  CheckAnswered(index);
}

void Specification::CheckAnswered(size_t index) {
  const Revocation& r = revocations_[index];
  for (const size_t c : r.covered) {
    const Connection& it = connections_[c];
    if (r.SparesLater(it.verified_at)) continue;  // bound again meanwhile
    if (it.open()) {
      FailAt(c, absl::StrCat("was there before r", index, ", and is open"));
    } else if (it.state == State::kClosing && !r.what.drains && !it.cut) {
      FailAt(c, absl::StrCat("still drains after r", index));
    }
  }
}

void Specification::RevokeRefused(size_t index) {
  Revocation& r = revocations_[index];
  r.over = r.lost = true;
  if (!r.closes.empty()) {
    Fail(absl::StrCat("r", index, " was refused, and closed connections"));
  }
}

void Specification::Lifting(size_t index) { ++revocations_[index].lifts; }

void Specification::Lifted(size_t index, bool found) {
  Revocation& r = revocations_[index];
  const Milliseconds keep = std::max(r.by_key() ? kRetention : 0, r.what.block);
  if (found) {
    r.over = true;
  } else if (!r.over && r.lifts == 1 && now_ < r.asked + keep) {
    Fail(absl::StrCat("r", index, " stands, and was not found to be lifted"));
  }
}

std::optional<size_t> Specification::FindFence(uint64_t epoch) const {
  std::optional<size_t> under_way;
  int count = 0;
  for (size_t i = 0; i < revocations_.size(); ++i) {
    const Revocation& r = revocations_[i];
    if (!r.what.fence) continue;
    if (r.answered && r.epoch == epoch) return i;
    if (r.may_scan() && r.epoch_before < epoch) {
      under_way = i;
      ++count;
    }
  }
  return count == 1 ? under_way : std::nullopt;
}

void Specification::Listed(const std::vector<uint64_t>& epochs) {
  const auto listed = [&](const Revocation& r) {
    return std::find(epochs.begin(), epochs.end(), r.epoch) != epochs.end();
  };
  size_t known = 0;
  size_t unanswered = 0;  // the broker was killed: perhaps written
  for (size_t i = 0; i < revocations_.size(); ++i) {
    const Revocation& r = revocations_[i];
    unanswered += !r.answered && r.what.fence;
    if (!r.answered || !r.what.fence) continue;
    const Milliseconds keep =
        std::max(r.by_key() ? kRetention : 0, r.what.block);
    const bool stands = !r.over && r.lifts == 0 && now_ < r.asked + keep;
    const bool may_stand = !r.over && now_ < r.answered_at + keep;
    if (stands && !listed(r)) Fail(absl::StrCat("r", i, " is not listed"));
    if (!may_stand && listed(r)) {
      Fail(absl::StrCat("r", i, " is over, and listed"));
    }
    known += listed(r);
  }
  if (epochs.size() > known + unanswered) {
    Fail("a revocation is listed that nobody asked for");
  }
}

// ---- closes -----------------------------------------------------------------

void Specification::Closed(size_t c, CloseCode code, bool drains,
                           std::optional<size_t> revocation) {
  Connection& it = connections_[c];
  if (it.state == State::kGone) return FailAt(c, "is closed, and is gone");
  const bool first = it.open();
  if (!first && drains) return FailAt(c, "begins to drain while closing");
  if (!drains) it.cut = true;
  if (!first) return;
  it.close_code = code;
  Become(it, State::kClosing);
  closed_.push_back(c);
  if (revocation && code == CloseCode::kRevoked) {
    revocations_[*revocation].closes.push_back({c, it.verified_at});
  }
  if (code == CloseCode::kRemoved) ++removals_;
}

void Specification::Sent(size_t c, bool reply, bool too_slow) {
  Connection& it = connections_[c];
  if (!it.open()) return FailAt(c, "is sent a message");
  it.too_slow = too_slow;
  if (reply) {
    ++it.replies;
  } else if (it.state != State::kAdmitted) {
    FailAt(c, "is sent a message");
  }
}

bool Specification::MayCloseAsRevoked(size_t c) const {
  const Connection& it = connections_[c];
  const bool opened_now = it.opened_in_step == step_;
  if (opened_now && it.verified_at < oldest_) return true;
  for (const Revocation& r : revocations_) {
    if (!Covers(r.what.target, it.ns, it.who)) continue;
    const bool scans = r.may_scan() || r.answered_in_step == step_;
    if (scans && !Spares(r, c)) return true;
    if (r.over || !r.what.fence) continue;
    if (r.by_key()) {
      const bool refuses =
          !r.answered || it.verified_at < r.epoch || r.MayBlock(now_);
      if (opened_now && refuses) return true;
    } else if ((opened_now || Enters(r, it)) && r.MayBlock(now_)) {
      return true;
    }
  }
  return false;
}

void Specification::CheckClose(size_t c) {
  const Connection& it = connections_[c];
  switch (*it.close_code) {
    case CloseCode::kRevoked:
      if (!MayCloseAsRevoked(c)) {
        FailAt(c, "is closed as revoked, and no revocation covers it");
      }
      return;
    case CloseCode::kNotAdmitted:
      if (it.closed_from != State::kPending ||
          (now_ < it.opened + kPendingTimeout &&
           (it.who || !it.may_be_refused))) {
        FailAt(c, "is closed as not admitted, and is, or has time left");
      }
      return;
    case CloseCode::kSlowConsumer:
      if (!it.too_slow) FailAt(c, "is closed as slow, and is not");
      return;
    case CloseCode::kRemoved:
      return;  // see removals_
    case CloseCode::kConnectionLimit:
      if (!IsEvicted(it)) FailAt(c, "is evicted, and is not the oldest");
      return;
    default:
      FailAt(c,
             absl::StrCat("is closed with ", static_cast<int>(*it.close_code)));
  }
}

// ---- after every step -------------------------------------------------------

void Specification::Counted(const char* what, uint64_t said, uint64_t is) {
  if (said != is) Fail(absl::StrCat(said, " ", what, " are said, not ", is));
}

void Specification::TimersRan() {
  for (size_t c = 0; c < connections_.size(); ++c) {
    const Connection& it = connections_[c];
    if (it.state == State::kPending &&
        now_ >= it.opened + kPendingTimeout + kTick) {
      FailAt(c, "is pending after its time");
    }
  }
}

void Specification::EndStep() {
  for (const size_t c : closed_) CheckClose(c);
  closed_.clear();
  if (removals_ != 0) Fail("a connection is removed, and nobody asked");
  removals_ = 0;
  for (size_t c = 0; c < connections_.size(); ++c) {
    const Connection& it = connections_[c];
    if (!it.open()) continue;
    if (it.opened_in_step == step_ && IsEvicted(it)) {
      FailAt(c, "opens, and another has its place");
    }
    // What the client asked is answered once it is admitted, not before.
    const int expected = it.state == State::kAdmitted ? it.requests : 0;
    if (it.replies != expected) {
      FailAt(c, absl::StrCat("got ", it.replies, " replies, not ", expected));
    }
    if (!it.who) continue;
    for (size_t i = 0; i < revocations_.size(); ++i) {
      const Revocation& r = revocations_[i];
      if (!Spares(r, c) && MustRefuse(r, it.ns, *it.who, it.verified_at)) {
        FailAt(c, absl::StrCat("is open, and r", i, " refuses it"));
      }
    }
  }
  ++step_;
}

}  // namespace broker::races
