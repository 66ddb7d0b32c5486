#include "broker/ws/acceptor.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

namespace broker {
namespace {

constexpr int kBatch = 64;         // then the connections have their turn
constexpr int kMaxWaiting = 4096;  // as many as the kernel queues
// Behind a batch of clients that cannot be served; the timers make a tenth of a
// second of it. Who knocks at a full broker costs little so, however many they
// are: several are answered in one turn, mostly with their request there
// already, and beyond 640 a second they wait in the kernel.
constexpr std::chrono::milliseconds kPause{50};

int OpenReserve() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

Acceptor::Acceptor(EventLoop& loop, int listener, OnSocket on_socket,
                   Counter& failures)
    : loop_(loop),
      listener_(listener),
      reserve_(OpenReserve()),
      on_socket_(std::move(on_socket)),
      failures_(failures) {
  loop_.Watch(listener_, EPOLLIN, nullptr);
}

void Acceptor::OnEvent() {
  if (listener_ < 0) return;
  bool refused = false;
  for (int i = 0; i < kBatch; ++i) {
    const Outcome outcome = AcceptOne();
    if (outcome == Outcome::kStarved) return Starve(errno);
    if (outcome == Outcome::kNone) break;
    refused = outcome == Outcome::kRefused;
  }
  if (refused) Pause();
}

Acceptor::Outcome Acceptor::AcceptOne() {
  for (;;) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    const int fd = accept4(listener_, reinterpret_cast<sockaddr*>(&peer), &size,
                           SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      return on_socket_(fd, peer) ? Outcome::kAccepted : Outcome::kRefused;
    }
    switch (errno) {
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        return Outcome::kStarved;
      case EAGAIN:
        return Outcome::kNone;
      case EINTR:
        break;
      default:
        // This client is gone already, or the network is: on to the next.
        return Outcome::kAccepted;
    }
  }
}

// Turns the waiting clients away, with the descriptor kept for this, then
// leaves the listener alone for a moment. A level-triggered listener would keep
// the thread busy for as long as the want lasts.
void Acceptor::Starve(int error) {
  failures_.Add();
  log_.Log(LogLevel::kError, "accept_failed",
           "clients are turned away: there is no descriptor or no memory left",
           {{"error", std::strerror(error)}});
  if (reserve_ >= 0) close(std::exchange(reserve_, -1));
  for (int i = 0; i < kBatch; ++i) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) break;
    close(fd);
  }
  reserve_ = OpenReserve();
  Pause();
}

void Acceptor::Pause() {
  loop_.Rewatch(listener_, 0, nullptr);
  loop_.timers().Arm(pause_, loop_.now() + kPause, [this] {
    if (reserve_ < 0) reserve_ = OpenReserve();
    loop_.Rewatch(listener_, EPOLLIN, nullptr);
  });
}

Acceptor::~Acceptor() { CloseDescriptors(); }

void Acceptor::Close() {
  if (listener_ < 0) return;
  pause_.Cancel();
  for (int i = 0; i < kMaxWaiting; ++i) {
    const Outcome outcome = AcceptOne();
    if (outcome == Outcome::kNone || outcome == Outcome::kStarved) break;
  }
  CloseDescriptors();
}

void Acceptor::CloseDescriptors() {
  if (listener_ >= 0) close(std::exchange(listener_, -1));
  if (reserve_ >= 0) close(std::exchange(reserve_, -1));
}

}  // namespace broker
