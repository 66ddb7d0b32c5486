// What the programs need of sockets. A failure that none of them could go on
// from ends the process with a line on stderr.

#pragma once

#include <sys/epoll.h>

#include <cstddef>
#include <cstdint>

namespace bench {

[[noreturn]] void Die(const char* what);

void RaiseDescriptorLimit();

// Listens on 127.0.0.1, on a free port. What it accepts has the options of the
// broker's sockets, so that a floor is a floor of the same thing.
int ListenLocally(uint16_t* port);

// Begins to connect to 127.0.0.1:`port` from 127.0.0.`source`. `receive_buffer`
// 0: as large as the kernel makes it.
int StartConnect(uint16_t port, uint8_t source, int receive_buffer);

// Closes with a reset: what is closed by the thousand in each round must not
// leave its ports in TIME_WAIT.
void CloseWithReset(int fd);

class Epoll {
 public:
  static constexpr int kBatch = 512;

  Epoll();
  ~Epoll();
  Epoll(const Epoll&) = delete;
  Epoll& operator=(const Epoll&) = delete;

  void Add(int fd, uint32_t events, uint64_t tag);
  void Change(int fd, uint32_t events, uint64_t tag);
  void Remove(int fd);

  // Calls `handle(tag, events)` for each. `timeout_ms` 0: does not wait.
  template <typename Handle>
  int Poll(int timeout_ms, Handle&& handle) {
    epoll_event events[kBatch];
    const int count = epoll_wait(fd_, events, kBatch, timeout_ms);
    for (int i = 0; i < count; ++i)
      handle(events[i].data.u64, events[i].events);
    return count;
  }

 private:
  const int fd_;
};

}  // namespace bench
