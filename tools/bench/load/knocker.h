// Knocker: clients that try to connect at a steady rate, whatever comes of it.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "tools/bench/common/net.h"

namespace bench {

class Knocker {
 public:
  // Each sends these bytes and waits for what comes.
  Knocker(uint16_t port, std::string bytes, double rate);
  ~Knocker();

  // Begins what is due and takes what has come.
  void Turn();

  uint64_t attempts() const { return attempts_; }
  // By what came of them: an HTTP status, "closed" without an answer, or
  // "silent" for 5 s.
  const std::map<std::string, uint64_t>& outcomes() const { return outcomes_; }

 private:
  void Knock(uint64_t now);
  void Read(int fd);
  void Settle(int fd, const std::string& outcome);

  const uint16_t port_;
  const std::string request_;
  const double rate_;
  const uint64_t start_ns_;
  Epoll epoll_;
  std::map<int, uint64_t> waiting_;  // since when
  uint64_t attempts_ = 0;
  std::map<std::string, uint64_t> outcomes_;
};

}  // namespace bench
