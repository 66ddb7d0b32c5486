// FloorServer: the least that a server can do for WebSocket clients, on one
// thread over epoll. It answers every upgrade with the same bytes, whatever the
// client presents, and keeps nothing of a client but its socket.
//
// What it must not leave out is what any server needs to be correct: the rest
// of a write that the socket did not take, and whole frames of what it reads.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/common/net.h"
#include "tools/bench/common/tls.h"

namespace bench {

class FloorServer {
 public:
  FloorServer();

  // For clients that come from now on.
  void UseTls(const std::string& certificate, const std::string& key) {
    tls_ = std::make_unique<TlsContext>(certificate, key);
  }

  uint16_t port() const { return port_; }
  size_t open() const { return open_; }
  // Client messages that looked like a JSON-RPC notification, and others.
  uint64_t messages() const { return messages_; }
  uint64_t others() const { return others_; }
  uint64_t pongs() const { return pongs_; }

  // Accepts, reads and writes on; waits at most `timeout_ms` for something to
  // do, -1: as long as it takes.
  void Poll(int timeout_ms);

  // Also lets Poll return when this can be read.
  void WakeOn(int fd);

  // The same bytes to every client, one send each.
  void SendToAll(std::string_view bytes);
  void SendTo(size_t index, std::string_view bytes);
  // To a client of the caller's choice, from any thread, without the rest:
  // false when the socket did not take it all.
  bool SendBare(size_t index, std::string_view bytes) const;
  // A close frame to each of the first `count` clients.
  void CloseFirst(size_t count, uint16_t code);

  // All clients that were ever accepted; some may be gone.
  size_t size() const { return hot_.size(); }

 private:
  // What the loop of sends looks at, packed.
  struct Hot {
    int fd = -1;
    bool open = false;  // the handshake is done
    bool full = false;  // something is in `out`
  };
  // Bytes that clients share; the first `sent` are with this one's socket.
  struct Rest {
    std::shared_ptr<const std::string> bytes;
    size_t sent = 0;
  };
  struct Cold {
    std::string in;         // of a frame or a head that is not whole yet
    std::vector<Rest> out;  // what the socket did not take, in order
    std::unique_ptr<Tls> tls;
  };

  void Accept();
  void Read(size_t index);
  // Turns what came into plaintext, in the same buffer; returns its size.
  size_t Decrypt(size_t index, char* bytes, size_t size);
  void SendAllOfTls(size_t index);
  size_t TakeHead(size_t index, std::string_view bytes);
  size_t TakeFrames(size_t index, char* bytes, size_t size);
  void TakeFrame(size_t index, uint8_t opcode, std::string_view payload);
  // `shared` is made of the bytes for the first client that has a rest of them.
  void SendOrKeep(size_t index, std::string_view bytes,
                  std::shared_ptr<const std::string>* shared);
  void Flush(size_t index);
  void End(size_t index);

  std::unique_ptr<TlsContext> tls_;
  std::string plain_;
  uint16_t port_ = 0;
  const int listener_;
  Epoll epoll_;
  std::vector<Hot> hot_;
  std::vector<Cold> cold_;
  std::vector<char> buffer_ = std::vector<char>(256 * 1024);
  size_t open_ = 0;
  uint64_t messages_ = 0;
  uint64_t others_ = 0;
  uint64_t pongs_ = 0;
};

}  // namespace bench
