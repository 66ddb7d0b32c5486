// What the clients send, and how they behave badly.

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "tools/bench/load/clients.h"

namespace bench {

bool Clients::Write(Client& client, std::string_view bytes) {
  if (client.tls == nullptr || bytes.empty()) return WriteWire(client, bytes);
  client.tls->Encrypt(bytes);
  const bool all = WriteWire(client, client.tls->Outgoing());
  client.tls->Sent();
  return all;
}

bool Clients::WriteWire(Client& client, std::string_view bytes) {
  if (!client.out.empty()) {
    client.out.append(bytes);
    bytes = client.out;
  }
  const ssize_t sent =
      send(client.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  // A connection that is gone shows when it is read.
  const size_t taken = sent < 0 ? (errno == EAGAIN ? 0 : bytes.size())
                                : static_cast<size_t>(sent);
  client.out = std::string(bytes.substr(taken));
  return client.out.empty();
}

bool Clients::Send(std::string_view frame, uint64_t count, double rate,
                   uint64_t deadline_ns) {
  const uint64_t start = NowNs();
  uint64_t sent = 0;
  return PollUntil(
             deadline_ns,
             [&] {
               uint64_t due = count;
               if (rate > 0) {
                 const double seconds =
                     static_cast<double>(NowNs() - start) / 1e9;
                 due = std::min(count, static_cast<uint64_t>(rate * seconds));
               }
               // A bounded turn, so that what comes in is read meanwhile; a
               // socket that is full is passed over.
               for (int turn = 0; sent < due && turn < 256; ++turn) {
                 Client& client = clients_[next_sender_++ % clients_.size()];
                 if (client.state != State::kOpen || client.stalled) continue;
                 if (!client.out.empty() && !Write(client, "")) continue;
                 Write(client, frame);
                 ++sent;
               }
               return sent >= count || open_ == 0;
             }) &&
         sent >= count;
}

void Clients::SendFromAll(std::string_view frame) {
  for (Client& client : clients_) {
    if (client.state == State::kOpen && !client.stalled) Write(client, frame);
  }
}

void Clients::Stall(size_t count) {
  for (size_t i = clients_.size() - count; i < clients_.size(); ++i) {
    Client& client = clients_[i];
    if (client.fd < 0 || std::exchange(client.stalled, true)) continue;
    epoll_.Remove(client.fd);
  }
}

void Clients::Resume(size_t count) {
  for (size_t i = clients_.size() - count; i < clients_.size(); ++i) {
    Client& client = clients_[i];
    if (client.fd < 0 || !std::exchange(client.stalled, false)) continue;
    epoll_.Add(client.fd, EPOLLIN, i);
  }
}

uint64_t Clients::Flood(std::string_view frame, uint64_t until_ns) {
  if (clients_.empty() || clients_.back().state != State::kOpen) return 0;
  const int fd = clients_.back().fd;
  std::string batch;
  while (batch.size() < 32 * 1024) batch.append(frame);
  Stall(1);
  uint64_t bytes = 0;
  while (NowNs() < until_ns) {
    // Goes on within the batch where the socket stopped.
    const std::string_view rest =
        std::string_view(batch).substr(bytes % batch.size());
    const ssize_t sent =
        send(fd, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      bytes += static_cast<uint64_t>(sent);
    } else if (errno == EAGAIN) {
      usleep(100);
    } else {
      break;  // The server has ended it.
    }
  }
  Resume(1);
  return bytes / frame.size();
}

void Clients::DropAll() {
  for (Client& client : clients_) {
    if (client.fd >= 0) CloseWithReset(client.fd);
  }
  clients_.clear();
  positions_.clear();
  unanswered_closes_.clear();
  heads_.clear();
  requests_.clear();
  refusals_.clear();
  open_ = refused_ = 0;
}

}  // namespace bench
