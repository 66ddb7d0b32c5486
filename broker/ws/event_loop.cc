#include "broker/ws/event_loop.h"

#include <array>
#include <utility>

#include "asio/io_context.hpp"
#include "asio/posix/stream_descriptor.hpp"
#include "asio/post.hpp"
#include "asio/steady_timer.hpp"

namespace broker {
namespace {

constexpr int kMaxEvents = 256;  // of one wake-up

// Whatever is thrown ends here: one connection's fault is not the process's.
template <typename Work>
void Contain(Work&& work) {
  try {
    work();
  } catch (...) {
  }
}

}  // namespace

struct EventLoop::Asio {
  asio::io_context io{1};
  asio::steady_timer tick{io};
  asio::posix::stream_descriptor events{io, epoll_create1(EPOLL_CLOEXEC)};
};

EventLoop::EventLoop(EventHandler on_event, std::function<void()> on_turn_end)
    : on_event_(std::move(on_event)),
      on_turn_end_(std::move(on_turn_end)),
      asio_(std::make_unique<Asio>()),
      now_(Clock::System().Monotonic()),
      timers_(now_) {
  timers_.OnWake([this] {
    // A callback of Advance may arm the first timer: the tick goes on anyhow.
    if (!ticking_) AwaitTick();
  });
  AwaitEvents();
}

EventLoop::~EventLoop() = default;

void EventLoop::Run() {
  while (!stopped_) {
    Contain([this] { asio_->io.run(); });
  }
}

void EventLoop::Stop() {
  stopped_ = true;
  asio_->io.stop();
  std::vector<Task> unrun;  // destroyed without the lock
  MutexLock lock(mu_);
  closed_ = true;
  unrun.swap(tasks_);
}

void EventLoop::Post(Task task) {
  {
    MutexLock lock(mu_);
    if (closed_) return;
    tasks_.push_back(std::move(task));
    if (tasks_.size() > 1) return;  // the loop was told of the first
  }
  asio::post(asio_->io, [this] { RunTasks(); });
}

void EventLoop::RunTasks() {
  BeginTurn();
  std::vector<Task> tasks;
  {
    MutexLock lock(mu_);
    tasks.swap(tasks_);
  }
  for (Task& task : tasks) {
    if (stopped_) return;
    Contain(task);
    task = nullptr;
  }
  EndTurn();
}

void EventLoop::EndTurn() { Contain(on_turn_end_); }

bool EventLoop::Watch(int fd, uint32_t events, void* tag) {
  epoll_event event{events, {.ptr = tag}};
  return epoll_ctl(asio_->events.native_handle(), EPOLL_CTL_ADD, fd, &event) ==
         0;
}

void EventLoop::Rewatch(int fd, uint32_t events, void* tag) {
  epoll_event event{events, {.ptr = tag}};
  epoll_ctl(asio_->events.native_handle(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::AwaitEvents() {
  asio_->events.async_wait(asio::posix::stream_descriptor::wait_read,
                           [this](const std::error_code& error) {
                             if (error) return;
                             HandleEvents();
                             AwaitEvents();
                           });
}

void EventLoop::HandleEvents() {
  BeginTurn();
  std::array<epoll_event, kMaxEvents> events;
  const int count =
      epoll_wait(asio_->events.native_handle(), events.data(), kMaxEvents, 0);
  for (int i = 0; i < count && !stopped_; ++i) {
    Contain([&] { on_event_(events[i].data.ptr, events[i].events); });
  }
  EndTurn();
}

void EventLoop::AwaitTick() {
  ticking_ = true;
  asio_->tick.expires_after(TimerWheel::kTick);
  asio_->tick.async_wait([this](const std::error_code& error) {
    if (error) return;
    BeginTurn();
    Contain([this] { timers_.Advance(now_); });
    EndTurn();
    ticking_ = false;
    if (!timers_.idle()) AwaitTick();
  });
}

}  // namespace broker
