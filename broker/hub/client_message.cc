#include "broker/hub/client_message.h"

namespace broker {

bool Inflow::Add(uint64_t weight) {
  const uint64_t now = waiting_.fetch_add(weight) + weight;
  if (now < window_) return false;
  paused_ = true;
  // All of it may have been taken in between, by who saw no pause.
  return waiting_ > window_ / 2 || !paused_.exchange(false);
}

void Inflow::Take(uint64_t weight) {
  const uint64_t left = waiting_.fetch_sub(weight) - weight;
  if (left <= window_ / 2 && paused_.exchange(false)) resume_();
}

bool ClientMessage::Give() {
  Stage waiting = Stage::kWaiting;
  const bool given = !inflow->closed() &&
                     stage_.compare_exchange_strong(waiting, Stage::kGiven);
  if (weight > 0) inflow->Take(weight);
  return given;
}

bool ClientMessage::End() {
  return stage_.exchange(Stage::kOver) == Stage::kGiven;
}

}  // namespace broker
