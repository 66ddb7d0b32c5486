// EventLoop: what one shard's thread waits for: sockets, timers, tasks.
//
// Sockets are in an edge-triggered epoll set of our own that is nested in
// Asio's: Asio's descriptors would cost an epoll_ctl or a failing recv for
// every message; this way it sees one descriptor, and a connection costs one
// epoll_ctl in its life.
//
// Confined to the thread that calls Run, but for Post.

#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "broker/core/clock.h"
#include "broker/core/mutex.h"
#include "broker/core/timer_wheel.h"

namespace broker {

class EventLoop {
 public:
  using Task = absl::AnyInvocable<void()>;
  // Epoll's events for what is watched under the tag.
  using EventHandler = std::function<void(void* tag, uint32_t events)>;

  // `on_turn_end` is called after each batch of events, tasks or timers.
  EventLoop(EventHandler on_event, std::function<void()> on_turn_end);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Returns after Stop. What tasks, timers and handlers throw ends here.
  void Run();
  // Destroys the tasks that have not been run; those posted later, at once.
  void Stop();

  // Runs the task in the loop, in the order of the posts. Any thread.
  void Post(Task task);

  // Closing the descriptor ends it. False: the kernel has no room.
  bool Watch(int fd, uint32_t events, void* tag);
  void Rewatch(int fd, uint32_t events, void* tag);

  TimerWheel& timers() { return timers_; }
  // When the present turn began.
  MonotonicTime now() const { return now_; }

 private:
  struct Asio;  // the only part that names Asio

  void AwaitEvents();
  void AwaitTick();
  void HandleEvents();
  void RunTasks();
  void BeginTurn() { now_ = Clock::System().Monotonic(); }
  void EndTurn();

  const EventHandler on_event_;
  const std::function<void()> on_turn_end_;
  const std::unique_ptr<Asio> asio_;
  MonotonicTime now_;
  TimerWheel timers_;
  bool ticking_ = false;
  bool stopped_ = false;

  Mutex mu_;
  std::vector<Task> tasks_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace broker
