// Simulation: a hub and its shards over sockets in memory, where one seed
// decides everything that happens and what comes before what.
//
// Each shard has a queue of tasks, as its thread has. A step is one task of one
// shard, one thing that a client does, or one call of a service. A call posts
// to one shard after another, and other steps may come in between, as they do
// when the caller is a thread of its own.

#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "broker/hub/hub.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_journal.h"
#include "tests/races/choices.h"
#include "tests/races/sim_transport.h"
#include "tests/races/specification.h"

namespace broker::races {

class Simulation final : private SocketWorld, private Callout {
 public:
  static constexpr size_t kShards = 2;
  static constexpr size_t kMostOfAccount = 2;

  Simulation();
  ~Simulation() override;

  // One run, until the specification is violated or all is done. Returns the
  // violation; empty: there was none. `trace` gets a line for each step.
  std::string Run(Choices& choices, std::vector<std::string>* trace = nullptr);

  uint64_t steps() const { return steps_; }  // of all runs

 private:
  struct Task {
    absl::AnyInvocable<void()> run;
    std::optional<size_t> call;
  };
  // A call of a service that is under way, for what its tasks do on a shard.
  struct Call {
    std::optional<size_t> revocation;
    struct BulkUpdate {
      uint8_t ns;
      Filter filter;
      Label label;
    };
    std::optional<BulkUpdate> update;
    uint64_t updated = 0;
    std::optional<uint64_t> said_updated;  // in its answer
    uint64_t sent = 0;
  };
  struct ShardState {
    std::deque<Task> tasks;
    bool busy = false;
    std::vector<std::optional<size_t>> sockets;  // connection by slot
  };
  // Accepted by the broker, and not open yet.
  struct Accepted {
    size_t shard;
    std::unique_ptr<Handshake> handshake;
    uint8_t ns;
    std::optional<Who> who;
    uint64_t verified_at;
    uint64_t arrival_epoch;
    std::optional<size_t> place;  // of the specification
    bool for_services = false;
  };
  struct MintedTicket {
    std::string secret;
    uint8_t ns;
    Who who;
    uint64_t verified_at;
  };
  struct Question {
    std::shared_ptr<std::optional<Who>> who;  // set when it is answered
    absl::AnyInvocable<void(CalloutAnswer)> done;
  };
  struct Client {
    ConnectionId id;
    Slot slot;
    uint64_t arrival_epoch;
  };

  // ---- SocketWorld, Callout ----
  void Posted(size_t shard, absl::AnyInvocable<void()> task) override;
  SendResult Sent(size_t shard, Slot slot, const FramePtr& frame) override;
  void Closed(size_t shard, Slot slot, CloseCode code, bool drains) override;
  void Authenticate(const HandshakeFacts& facts,
                    const EndpointSettings& endpoint, uint64_t epoch,
                    absl::AnyInvocable<void(CalloutAnswer)> done) override;

  // ---- running ----
  void StartHub();
  void EndHub();
  void Step();
  void RunTask(size_t shard);
  void Finish();
  void FinishOffers();
  void Settle();
  // Runs `f` as the shard's thread.
  template <typename F>
  void OnShard(size_t shard, F f) {
    shards_[shard].busy = true;
    f(*hub_->shards()[shard]);
    shards_[shard].busy = false;
    EndStep(shard);
  }
  // Runs `f` as a part of the call, so that what it posts belongs to that.
  template <typename F>
  void As(size_t call, F f) {
    const auto outer = std::exchange(call_, call);
    f();
    call_ = outer;
  }
  void EndStep(size_t shard);
  void CheckStates();
  bool Failed() const { return !spec_.violation().empty(); }
  template <typename... Parts>
  void Trace(const Parts&... parts) {
    if (trace_ == nullptr) return;
    trace_->push_back(absl::StrCat(
        std::string(static_cast<size_t>(2 * depth_), ' '), parts...));
  }

  // ---- what clients do ----
  void Connect();
  void ConnectWithTicket(size_t shard, uint8_t ns);
  void ConnectPending(size_t shard, uint8_t ns, bool for_services);
  void ConnectWithCallout(size_t shard, uint8_t ns);
  void Open();
  void GiveUp();
  void Speak();
  void Leave();

  // ---- what services do ----
  void AnswerCallout();
  void ReadEpoch();
  void Mint();
  void Bind();
  // An unset epoch: that of the handshake.
  void Bind(size_t c, const Who& who, bool hold,
            std::optional<uint64_t> verified_at);
  void RepeatBind();
  void Admit();
  void Update();
  void UpdateFiltered();
  void Revoke();
  void Lift();
  void Remove();
  void Send();

  // ---- what attached services do ----
  // Some are attached when the run begins.
  void BeginServing();
  void Serve();
  void Attach();
  void AddCredit(size_t s);
  void Detach(size_t s);
  // Whether there was something to read.
  bool Read(size_t s);
  void AnswerOffer(size_t s);
  bool ReadAll();

  // ---- what the world does ----
  void Idle() {}
  void WriteJournal();
  void PassTime();
  void Pass(Milliseconds d);
  void Restart();

  // ---- choosing ----
  size_t Below(size_t n) { return choices_->Below(n); }
  bool OneIn(size_t n) { return choices_->OneIn(n); }
  // Of those that were revoked last more often.
  Who AnyWho();
  Target AnyTarget();
  uint64_t AnyEpoch();
  // A shard whose thread has nothing to do just now.
  std::optional<size_t> AnyFreeShard();
  // A connection whose socket is there, on such a shard.
  std::optional<size_t> AnySocket();
  // Any connection that ever was, gone ones more rarely, and the one that was
  // excluded from a close last more often.
  std::optional<size_t> AnyConnection();
  size_t NewCall() {
    calls_.emplace_back();
    return calls_.size() - 1;
  }
  IdentityPtr IdentityOf(const Who& who) const;
  RevocationTarget ToTarget(const Target& target) const;
  void SeeEpochs() { spec_.SeeEpochs(hub_->epoch(), hub_->oldest_epoch()); }

  testing::FakeClock clock_;
  SimTransport transports_[kShards] = {{*this, 0}, {*this, 1}};
  std::vector<SettingsPtr> settings_;  // by most_of_account_
  FramePtr message_;
  std::vector<IdentityPtr> identities_;
  std::vector<PredicatePtr> predicates_;
  Specification spec_;
  uint64_t steps_ = 0;

  // ---- of one run ----
  Choices* choices_ = nullptr;
  std::vector<std::string>* trace_ = nullptr;
  // Connections in one namespace; 0: no limit. Then the oldest is evicted.
  size_t most_of_account_ = 0;
  bool attaches_ = false;  // there are services that judge handshakes
  // Unset: fences last only as long as the hub.
  std::optional<testing::FakeJournal> journal_;
  std::unique_ptr<Hub> hub_;
  bool ending_ = false;         // the hub is going: nobody posts any more
  int depth_ = 0;               // of steps that come in between
  std::optional<size_t> call_;  // whose task is running
  ShardState shards_[kShards];
  std::vector<Call> calls_;
  std::vector<Accepted> accepted_;
  std::vector<Question> questions_;
  std::shared_ptr<std::optional<Who>> asked_;  // of the question to come
  std::vector<MintedTicket> tickets_;
  std::vector<Client> clients_;  // by the specification's connection
  std::vector<uint64_t> known_epochs_;
  struct Binding {
    size_t connection;
    Who who;
    uint64_t verified_at;
  };
  std::vector<Binding> bindings_;  // answered with OK
  std::optional<size_t> spared_;   // excluded last
  std::optional<Target> revoked_;  // last
  struct Service {
    AttachFeedPtr feed;
    bool started = false;  // as it knows
    bool gone = false;
    struct Offer {
      uint64_t id;
      size_t connection;
      uint64_t epoch;
    };
    std::vector<Offer> offers;  // not answered
  };
  std::vector<Service> services_;     // by the specification's service
  std::vector<Uuid> revocation_ids_;  // by the specification's revocation
};

}  // namespace broker::races
