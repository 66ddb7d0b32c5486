// Specification: what the broker promises of bindings and revocations, said as
// simply as possible, and held against what a run does.
//
// It knows only what can be seen from outside: what was asked, what was
// answered, what was done to sockets. It keeps lists and looks through them; it
// knows of no shard's fences and no index. Where two things overlap in time it
// allows either order.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "broker/session/close_code.h"
#include "tests/races/words.h"

namespace broker::races {

enum class Outcome {
  kOk,
  kUnauthorized,  // 401: of a handshake, for whatever reason
  kRevoked,
  kTooOld,
  kAhead,
  kNotFound,
  kAlreadyBound,
  kNotBound,
  kEnded,  // the broker was killed meanwhile
  kOther,
};
std::string ToText(Outcome outcome);

class Specification {
 public:
  static constexpr Milliseconds kPendingTimeout = 10'000;
  static constexpr Milliseconds kRetention = 24 * 3'600'000;
  static constexpr Milliseconds kOfferTimeout = 3'000;
  static constexpr Milliseconds kTick = 50;  // timers may be so late

  // The first thing that the broker did wrong; empty: nothing.
  const std::string& violation() const { return violation_; }

  // ---- the world ----
  // For one connection more than `most_of_account` in one namespace the oldest
  // is evicted; 0: there is no limit.
  void Start(uint64_t epoch, size_t most_of_account);
  void PassTime(Milliseconds d) { now_ += d; }
  void SeeEpochs(uint64_t current, uint64_t oldest);
  // The broker is killed and comes back. `durable`: it still has its fences.
  void Restart(uint64_t epoch, uint64_t oldest, bool durable);

  // ---- tickets and bindings: what was decided just now ----
  void Minted(uint8_t ns, Who who, uint64_t verified_at, Milliseconds ttl,
              Outcome outcome);
  void Presented(size_t ticket, uint8_t ns, Outcome outcome);
  void Decided(uint8_t ns, const Who& who, uint64_t verified_at,
               Outcome outcome);

  // ---- connections ----
  // A handshake with an identity is accepted, and takes a place of its account.
  size_t TakesPlace(uint8_t ns, const Who& who);
  void GivesUpPlace(size_t place) { places_[place].left = true; }
  struct Arrival {
    size_t shard = 0;
    uint8_t ns = 0;
    std::optional<Who> who;
    uint64_t verified_at = 0;     // pending: when it arrived
    std::optional<size_t> place;  // with an identity
    bool for_services = false;    // that are attached judge it
  };
  // It is about to be registered: with an identity admitted, else pending.
  size_t Opening(const Arrival& arrival);
  void Bound(size_t c, const Who& who, uint64_t verified_at, bool hold,
             Outcome outcome);
  void Admitted(size_t c, Outcome outcome);
  void Updated(size_t c, Label label, Outcome outcome);
  // One shard's part of it; returns how many changed.
  uint64_t UpdatedFiltered(size_t shard, uint8_t ns, Filter filter,
                           Label label);
  void Removed(size_t c, bool removed);
  void Message(size_t c);  // of the client, a request
  void ClientClosing(size_t c);
  void Gone(size_t c);

  // ---- what the broker does to sockets ----
  // In a task of `revocation`, if any.
  void Closed(size_t c, CloseCode code, bool drains,
              std::optional<size_t> revocation);
  void Sent(size_t c, bool reply, bool too_slow);

  // ---- attached services ----
  // One asks for handshakes of the namespace, with credit for so many.
  size_t Attaching(uint8_t ns, uint64_t credit);
  void Attached(size_t s) { services_[s].attached = true; }
  void Detached(size_t s) { services_[s].gone = true; }
  void Credited(size_t s, uint64_t credit) { services_[s].credit += credit; }
  // A handshake for services arrived, and was accepted or not.
  void ArrivedForServices(uint8_t ns, bool accepted);
  // It is offered the handshake, with the epoch at which that arrived.
  void Offered(size_t s, size_t c, uint64_t epoch);
  void Refusing(size_t s, size_t c);

  // ---- revocations ----
  struct Revoke {
    Target target;
    bool fence = true;
    Milliseconds block = 0;  // block_for or fence_ttl
    bool drains = false;
    std::optional<size_t> spared;  // a connection that is excluded
  };
  size_t Revoking(const Revoke& revoke);
  // Answered with OK; or not `written`: enforced, but only until a restart.
  void Revoked(size_t r, uint64_t closed, uint64_t epoch, bool written);
  void RevokeRefused(size_t r);  // nothing happened
  void Lifting(size_t r);
  void Lifted(size_t r, bool found);
  // All that stand, when nothing is under way.
  void Listed(const std::vector<uint64_t>& epochs);

  // That with this epoch, or the only one that it can be; unset: none, or it
  // cannot be told.
  std::optional<size_t> FindFence(uint64_t epoch) const;

  // ---- after every step ----
  void EndStep();
  // Of all shards, since time passed.
  void TimersRan();
  // Nothing is under way, and services have read what they were told.
  void Settled();
  // The same once more, so long after that that offers have run their time.
  void SettledAgain();
  // What the broker says, and what is so.
  void Counted(const char* what, uint64_t said, uint64_t is);
  void Disagree(size_t c, const std::string& what) { FailAt(c, what); }
  uint64_t admitted(size_t shard, uint8_t ns) const;

  enum class State : uint8_t { kPending, kAdmitted, kClosing, kGone };
  struct Connection {
    size_t shard = 0;
    uint8_t ns = 0;
    std::optional<Who> who;
    uint64_t verified_at = 0;
    uint64_t arrived_at = 0;  // for services
    State state = State::kPending;
    Milliseconds opened = 0;
    std::optional<CloseCode> close_code;  // by the broker
    bool cut = false;                     // closed without a drain
    bool too_slow = false;
    State closed_from = State::kPending;
    uint64_t closed_in_step = 0;
    uint64_t opened_in_step = 0;
    std::optional<Who> who_before;  // the change
    uint64_t changed_in_step = 0;
    std::optional<size_t> place;  // once admitted
    bool for_services = false;
    // In the order in which they read it: one may read it late.
    std::vector<size_t> offered_to;
    size_t offers_settled = 0;  // so many when all was settled
    bool may_be_refused = false;
    bool must_be_refused = false;  // or else be bound
    int requests = 0;
    int replies = 0;

    bool open() const {
      return state == State::kPending || state == State::kAdmitted;
    }
    // Before this step: what happens in it may have closed it.
    bool was_open(uint64_t step) const {
      return open() || closed_in_step == step;
    }
  };
  const std::vector<Connection>& connections() const { return connections_; }

 private:
  struct Ticket {
    uint8_t ns;
    Who who;
    uint64_t verified_at;
    Milliseconds expires;
    bool used = false;
  };
  struct Place {
    uint8_t ns;
    uint8_t account;
    bool evicted = false;
    bool left = false;
  };
  struct Service {
    uint8_t ns;
    uint64_t credit;        // for more than it was offered
    bool attached = false;  // as it knows
    bool gone = false;
  };
  struct Revocation {
    Revoke what;
    Milliseconds asked = 0;
    uint64_t epoch_before = 0;
    // What was there when it was asked and is covered ever since.
    std::vector<size_t> covered;
    bool answered = false;
    uint64_t epoch = 0;
    Milliseconds answered_at = 0;
    // What it closed, and when that was verified.
    struct Close {
      size_t connection;
      uint64_t verified_at;
    };
    std::vector<Close> closes;
    bool entered = false;  // who was spared has left, and matched again
    int lifts = 0;         // how often that was asked
    bool lost = false;     // refused, or its run has ended
    bool over = false;     // lifted, refused, or lost with a run

    uint64_t answered_in_step = 0;
    bool written = false;

    // Whether its close, once it has its epoch, spares what was verified then:
    // a new login is welcome.
    bool SparesLater(uint64_t verified_at) const {
      return by_key() && what.block == 0 && verified_at >= epoch;
    }
    bool may_scan() const { return !answered && !lost; }

    bool by_key() const { return what.target.kind != TargetKind::kFilter; }
    // Whether it has to block, and whether it may.
    bool MustBlock(Milliseconds now) const {
      return what.block != 0 && now < asked + what.block;
    }
    bool MayBlock(Milliseconds now) const {
      return what.block != 0 && (!answered || now < answered_at + what.block);
    }
  };

  void Fail(const std::string& what);
  void FailAt(size_t c, const std::string& what);
  std::string Describe(size_t c) const;
  static bool Spares(const Revocation& r, size_t c) {
    return r.what.spared == c && !r.entered;
  }
  bool MustRefuse(const Revocation& r, uint8_t ns, const Who& who,
                  uint64_t verified_at) const;
  bool MayRefuse(uint8_t ns, const Who& who, uint64_t verified_at) const;
  bool MayCloseAsRevoked(size_t c) const;
  bool MayBeThatOld(uint64_t oldest) const;
  void CheckClose(size_t c);
  void Admit(Connection& c);
  bool IsEvicted(const Connection& c) const {
    return c.place && places_[*c.place].evicted;
  }
  bool AwaitsService(const Connection& c) const {
    return c.for_services && c.state == State::kPending && !c.who;
  }
  bool HasCredit(uint8_t ns) const;
  void CheckPlaces();
  void CheckAnswered(size_t r);
  void Become(Connection& c, State state);
  void ChangeLabel(size_t c, Label label);
  // Its identity has changed from that.
  void Changed(size_t c, const std::optional<Who>& before);
  // It changes in this step, so that the revocation covers it from now on.
  bool Enters(const Revocation& r, const Connection& c) const;

  std::string violation_;
  Milliseconds now_ = 0;
  uint64_t epoch_ = 0;
  uint64_t oldest_ = 0;
  uint64_t first_epoch_ = 0;  // of this run
  uint64_t step_ = 1;
  int removals_ = 0;            // closed as removed, and not answered yet
  std::vector<size_t> closed_;  // in this step
  std::vector<Ticket> tickets_;
  std::vector<Connection> connections_;
  std::vector<Revocation> revocations_;
  size_t most_of_account_ = 0;
  std::vector<Place> places_;  // in the order in which they were taken
  std::vector<Service> services_;
};

}  // namespace broker::races
