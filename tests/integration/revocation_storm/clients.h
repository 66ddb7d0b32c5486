// Clients of one account that connect while it is revoked, over plain sockets,
// on one thread. They send requests all the while.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace storm {

class Clients {
 public:
  struct Options {
    uint16_t port = 0;
    // So many start only once the account is revoked: the last tickets.
    size_t late = 0;
    // Every so many-th answers no close frame, and goes on sending. 0: none.
    size_t withholding = 0;
  };
  struct Result {
    uint64_t opened = 0;
    uint64_t refused = 0;
    uint64_t refused_late = 0;
    uint64_t resets = 0;  // of those that withheld their close frame
    uint64_t withheld = 0;
    std::string wrong;  // the first thing that should not be; or empty
  };

  Clients(Options options, std::vector<std::string> tickets);
  ~Clients();

  // Until every client has come to its end.
  Result Run();

  // By any thread.
  size_t started() const { return started_; }
  void SetRevoked() { revoked_ = true; }

 private:
  enum class State { kNew, kHandshake, kOpen, kClosing, kEnded };
  struct Client {
    State state = State::kNew;
    int fd = -1;
    bool late = false;
    bool withholds = false;
    std::string input;
  };

  void StartSome();
  void Start(size_t index);
  void Read(Client& client);
  void ReadResponse(Client& client);
  // False when there is no whole frame.
  bool ReadFrame(Client& client);
  void OnClose(Client& client, int code);
  void OnEnd(Client& client, bool reset);
  void End(Client& client);
  void Wrong(const Client& client, const std::string& what);

  const Options options_;
  const std::vector<std::string> tickets_;
  std::vector<Client> clients_;
  const int epoll_;
  size_t next_ = 0;
  size_t undecided_ = 0;
  size_t ended_ = 0;
  Result result_;
  std::atomic<size_t> started_{0};
  std::atomic<bool> revoked_{false};
};

}  // namespace storm
