#include "tools/bench/load/knocker.h"

#include <sys/socket.h>

#include <cerrno>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/bench/common/frames.h"
#include "tools/bench/common/payload.h"

namespace bench {
namespace {

constexpr uint64_t kPatienceNs = 5'000'000'000;
// Source addresses of their own, so that they do not take the clients' ports.
constexpr uint8_t kFirstSource = 100;
constexpr uint8_t kSources = 8;

}  // namespace

Knocker::Knocker(uint16_t port, std::string bytes, double rate)
    : port_(port),
      request_(std::move(bytes)),
      rate_(rate),
      start_ns_(NowNs()) {}

Knocker::~Knocker() {
  for (const auto& [fd, since] : waiting_) CloseWithReset(fd);
}

void Knocker::Turn() {
  const uint64_t now = NowNs();
  const double seconds = static_cast<double>(now - start_ns_) / 1e9;
  while (static_cast<double>(attempts_) < rate_ * seconds) Knock(now);
  epoll_.Poll(0, [this](uint64_t fd, uint32_t) { Read(static_cast<int>(fd)); });
  std::vector<int> silent;
  for (const auto& [fd, since] : waiting_) {
    if (now - since > kPatienceNs) silent.push_back(fd);
  }
  for (const int fd : silent) Settle(fd, "silent");
}

void Knocker::Knock(uint64_t now) {
  const auto source =
      static_cast<uint8_t>(kFirstSource + attempts_++ % kSources);
  const int fd = StartConnect(port_, source, 0);
  waiting_[fd] = now;
  epoll_.Add(fd, EPOLLIN, static_cast<uint64_t>(fd));
  if (send(fd, request_.data(), request_.size(), MSG_NOSIGNAL) < 0 &&
      errno != EAGAIN) {
    Settle(fd, "closed");
  }
}

void Knocker::Read(int fd) {
  if (!waiting_.contains(fd)) return;
  char buffer[4096];
  const ssize_t size = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (size < 0 && errno == EAGAIN) return;
  const std::string_view answer(buffer,
                                size > 0 ? static_cast<size_t>(size) : 0);
  const bool http = answer.size() > 12 && answer.substr(0, 5) == "HTTP/";
  Settle(fd, http ? std::string(answer.substr(9, 3)) : "closed");
}

void Knocker::Settle(int fd, const std::string& outcome) {
  ++outcomes_[outcome];
  waiting_.erase(fd);
  CloseWithReset(fd);
}

}  // namespace bench
