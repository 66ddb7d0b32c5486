// System calls on sockets, and addresses as text. Thread-safe.

#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace broker {

// Where a client connects from.
struct PeerAddress {
  std::string address;  // IPv4 also when it came to an IPv6 socket
  uint16_t port = 0;
};
PeerAddress ToPeerAddress(const sockaddr_storage& address);

// As Outbox::Writer wants it. Never raises SIGPIPE.
ssize_t SendSome(int fd, const iovec* parts, size_t count);

// Descriptors that listen on one address and port, as many as wanted; the
// kernel spreads connections over them. Port 0: one that is free. They share
// the port with each other, and with no other process. Errors are for people.
struct Listeners {
  std::vector<int> fds;
  uint16_t port = 0;
};
absl::StatusOr<Listeners> Listen(const std::string& address, uint16_t port,
                                 int count);

}  // namespace broker
