// Clients: thousands of WebSocket clients on one thread, which check every
// frame that they get.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/common/histogram.h"
#include "tools/bench/common/net.h"
#include "tools/bench/common/payload.h"
#include "tools/bench/common/tls.h"
#include "tools/bench/load/inbound.h"

namespace bench {

// What came since the last Reset.
struct Tally {
  uint64_t messages = 0;
  uint64_t bytes = 0;  // of their payloads
  uint64_t pings = 0;
  uint64_t pongs = 0;
  uint64_t closes = 0;  // close frames, and ends without one
  std::map<std::string, uint64_t> codes;
  uint64_t last_message_ns = 0;
  uint64_t last_close_ns = 0;
  uint64_t faults = 0;
  std::string first_fault;
  Histogram latency_ns;
};

// Which of a sender's messages a client must get.
enum class Expect : uint8_t {
  kAll,   // each is the next after the one before
  kSome,  // each is later than the one before
};

class Clients {
 public:
  struct Target {
    uint16_t port = 0;
    std::string path;
    int receive_buffer = 0;  // 0: the kernel's choice
    bool tls = false;
  };

  // Polls without waiting when `busy`: a client that sleeps costs the server
  // the time to wake it.
  explicit Clients(bool busy) : busy_(busy) {}

  // Connects one more client for each ticket, `flight` handshakes at once. An
  // empty ticket is not presented. False: some were refused, or the deadline
  // has passed.
  bool Connect(const Target& target, const std::vector<std::string>& tickets,
               size_t flight, uint64_t deadline_ns);

  // Reads what has come; waits at most `wait_ms` for it unless busy.
  void Poll(int wait_ms = 1);

  // Polls until `done()` or the deadline. False: the deadline.
  template <typename Done>
  bool PollUntil(uint64_t deadline_ns, Done&& done) {
    while (!done()) {
      if (NowNs() >= deadline_ns) return false;
      Poll();
    }
    return true;
  }

  size_t open() const { return open_; }
  size_t refused() const { return refused_; }
  const std::map<std::string, uint64_t>& refusals() const { return refusals_; }
  const Tally& tally() const { return tally_; }
  void Reset(Expect expect);

  // Holds back the answers to close frames until told otherwise: they are the
  // client's work, and not what is measured.
  void HoldCloseAnswers(bool hold);

  // The last `count` clients stop reading, or read again.
  void Stall(size_t count);
  void Resume(size_t count);

  // Sends to the open clients in turn, `rate` of these in a second, 0: as many
  // as the sockets take. False: the deadline.
  bool Send(std::string_view frame, uint64_t count, double rate,
            uint64_t deadline_ns);
  // Sends this frame from every open client.
  void SendFromAll(std::string_view frame);
  // The last client sends without reading until the server has had enough.
  // Returns how many whole frames left.
  uint64_t Flood(std::string_view frame, uint64_t until_ns);

  // The first `flight` clients each have a JSON-RPC request of so many bytes
  // open, until `count` have been replied to. Requests of the server are
  // answered whenever they come. False: the deadline.
  bool Talk(uint64_t count, size_t flight, size_t size, uint64_t deadline_ns);

  // Resets every connection.
  void DropAll();

 private:
  enum class State : uint8_t { kHandshake, kOpen, kClosing, kGone };
  struct Client {
    int fd = -1;
    State state = State::kHandshake;
    bool stalled = false;
    Inbound in;
    std::string out;  // what the socket did not take
    std::unique_ptr<Tls> tls;
  };

  void Start(const Target& target, const std::string& ticket);
  void Read(size_t index);
  // The plaintext of what came; good until the next call.
  std::string_view Decrypt(size_t index, std::string_view bytes);
  // Returns the bytes behind the response.
  std::string_view ReadResponse(size_t index, std::string_view bytes);
  void Refuse(Client& client, const std::string& why);
  void Take(size_t index, uint8_t opcode, std::string_view payload,
            uint64_t now);
  void TakeMessage(size_t index, uint8_t opcode, std::string_view payload,
                   uint64_t now);
  void TakeClose(size_t index, std::string_view payload);
  void CountClose(const std::string& code);
  void Fault(const std::string& what);
  void End(size_t index);
  // Gives the socket what it takes. False: something is left.
  bool Write(Client& client, std::string_view bytes);
  bool WriteWire(Client& client, std::string_view bytes);
  void AnswerClose(size_t index);

  // JSON-RPC: talk.cc.
  void Request(size_t index);
  void TakeReply(size_t index, std::string_view text, uint64_t now);
  void AnswerRequest(size_t index, std::string_view text);

  const bool busy_;
  Epoll epoll_;
  std::vector<Client> clients_;
  // kMaxSenders for each client: the count of the last message, 0 before it.
  std::vector<uint32_t> positions_;
  std::vector<char> buffer_ = std::vector<char>(256 * 1024);
  std::vector<size_t> unanswered_closes_;
  std::map<std::string, uint64_t> refusals_;
  std::map<size_t, std::string> heads_;  // of responses that are not whole yet
  std::map<size_t, std::string> requests_;  // that wait for the end of TLS's
                                            // handshake
  TlsContext tls_;
  std::string plain_;
  std::string request_head_;
  PayloadChecker checker_;
  Tally tally_;
  Expect expect_ = Expect::kAll;
  bool hold_close_answers_ = false;
  struct TalkState {
    uint64_t count = 0;  // requests to make
    uint64_t asked = 0;
    uint64_t replied = 0;
    std::string params;
  };
  TalkState talk_;
  size_t open_ = 0;
  size_t refused_ = 0;
  size_t next_sender_ = 0;
};

}  // namespace bench
