// Acceptor: accepts from one listening descriptor, in batches, and survives the
// want of descriptors and memory without spinning.
//
// Confined to the shard's thread.

#pragma once

#include <sys/socket.h>

#include <functional>

#include "broker/core/log.h"
#include "broker/core/metrics.h"
#include "broker/core/timer_wheel.h"
#include "broker/ws/event_loop.h"

namespace broker {

class Acceptor {
 public:
  // Owns the descriptor it gets. False: there was no room for it, so that it is
  // only to be refused, and there is no hurry about the next.
  using OnSocket = std::function<bool(int fd, const sockaddr_storage& peer)>;

  // Takes over the listener and watches it, under the tag nullptr: its owner
  // passes the events on.
  Acceptor(EventLoop& loop, int listener, OnSocket on_socket,
           Counter& failures);
  ~Acceptor();
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  void OnEvent();

  // Accepts who is waiting, then no more. Idempotent.
  void Close();

 private:
  enum class Outcome { kAccepted, kRefused, kNone, kStarved };
  Outcome AcceptOne();
  // `error` is the errno of the accept that failed.
  void Starve(int error);
  void Pause();
  void CloseDescriptors();

  EventLoop& loop_;
  int listener_;
  int reserve_;  // given up when there is no other descriptor
  const OnSocket on_socket_;
  Counter& failures_;
  LogLimiter log_{1};  // one line a second
  Timer pause_;
};

}  // namespace broker
