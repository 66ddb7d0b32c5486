// The transport's side of a shard: ends.

#include "broker/hub/shard.h"

#include <utility>

namespace broker {

Shard::Shard(uint8_t index, SharedState& shared, Transport& transport,
             SettingsPtr settings)
    : index_(index),
      shared_(shared),
      transport_(transport),
      settings_(std::move(settings)),
      watches_(index) {
  for (FencePtr& fence : shared_.revocations.All()) {
    fences_.Add(std::move(fence));
  }
}

Shard::~Shard() = default;

const Settings& Shard::settings() const {
  on_shard_.AssertHeld();
  return *settings_;
}

// ---- ends -----------------------------------------------------------------

bool Shard::BecomeClosing(Slot slot, std::optional<uint16_t> code,
                          const Ending& ending) {
  if (!registry_.Has(slot)) return false;  // OnOpen threw.
  if (Info(slot).state == ConnectionState::kClosing) return false;
  Session& session = *sessions_[slot];
  session.timer.reset();
  session.ns.Release();
  session.account.Release();
  session.pending.reset();
  EndConversation(slot);
  ConnectionInfo info = Info(slot);
  info.state = ConnectionState::kClosing;
  info.close_code = code;
  Change(slot, std::move(info), &ending);
  return true;
}

bool Shard::Close(Slot slot, CloseCode code, absl::Duration drain_for) {
  const bool first =
      BecomeClosing(slot, static_cast<uint16_t>(code), Ending::ByBroker(code));
  if (first || drain_for <= absl::ZeroDuration()) {
    transport_.Close(slot, code, drain_for);
  }
  return first;
}

void Shard::Change(Slot slot, ConnectionInfo info, const Ending* ending) {
  ConnectionInfoPtr before = registry_.Get(slot);
  const auto after = std::make_shared<const ConnectionInfo>(std::move(info));
  registry_.Replace(slot, after);
  TellAttached(before.get(), after, ending);
  watches_.Record(std::move(before), after);
}

void Shard::OnClosing(Slot slot, uint16_t code) {
  on_shard_.AssertHeld();
  BecomeClosing(slot, std::nullopt, Ending::ByClient(code));
}

void Shard::OnGone(Slot slot, uint16_t code) {
  on_shard_.AssertHeld();
  if (!registry_.Has(slot)) return;  // OnOpen threw.
  stats_.closes.Add(code);
  if (Info(slot).state != ConnectionState::kClosing) {
    sessions_[slot]->pending.reset();  // no offer comes behind its end
    EndConversation(slot);
    const Ending lost = Ending::Lost();
    TellAttached(&Info(slot), nullptr, &lost);
  }
  watches_.Record(registry_.Get(slot), nullptr, code);
  registry_.Erase(slot);
  sessions_[slot].reset();
  if (drained_ && registry_.size() == 0) std::exchange(drained_, nullptr)();
}

void Shard::Drain(absl::Duration spread, absl::AnyInvocable<void()> done) {
  on_shard_.AssertHeld();
  watches_.FailAll(absl::UnavailableError("the broker is shutting down"));
  if (registry_.size() == 0) return done();
  drained_ = std::move(done);
  const PredicatePtr all = Predicate::All();
  to_drain_.clear();
  registry_.Select(std::nullopt, *all, States::Open(), to_drain_);
  const auto ticks = static_cast<size_t>(absl::ToInt64Milliseconds(spread) /
                                         TimerWheel::kTick.count());
  drain_batch_ = to_drain_.size() / (ticks + 1) + 1;
  DrainSome();
}

void Shard::DrainSome() {
  for (size_t i = 0; i < drain_batch_ && !to_drain_.empty(); ++i) {
    // No slot is used again: upgrades are refused since the drain began.
    if (registry_.Has(to_drain_.back())) {
      Close(to_drain_.back(), CloseCode::kGoingAway);
    }
    to_drain_.pop_back();
  }
  if (to_drain_.empty()) return;
  transport_.timers().Arm(
      drain_timer_, shared_.clock.Monotonic() + TimerWheel::kTick, [this] {
        on_shard_.AssertHeld();
        DrainSome();
      });
}

}  // namespace broker
