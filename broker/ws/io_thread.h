// IoThread: the thread of one shard, and its Transport over real sockets.
//
// Confined to that thread, but for Post and what is said to be called by the
// owner. Free of Asio and websocketpp.

#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "broker/core/log.h"
#include "broker/core/thread_role.h"
#include "broker/core/timer_wheel.h"
#include "broker/hub/shard.h"
#include "broker/hub/transport.h"
#include "broker/ws/acceptor.h"
#include "broker/ws/event_loop.h"
#include "broker/ws/net.h"
#include "broker/ws/tls_session.h"
#include "broker/ws/turn_batch.h"

namespace broker {

class Socket;

class IoThread final : public Transport {
 public:
  IoThread();
  ~IoThread() override;

  // ---- by the owner, on one thread ----

  // Starts the thread, which serves the shard and accepts from the listener.
  // Without a context sockets speak no TLS.
  void Start(Shard& shard, int listener, TlsContextPtr tls);
  // For sockets from then on.
  void SetTls(TlsContextPtr tls);
  // Closes the listener, soon.
  void StopAccepting();
  // Ends all sockets at once, then the thread. Idempotent.
  void Stop();

  // ---- Transport ----

  void Post(absl::AnyInvocable<void()> task) override;
  TimerWheel& timers() override { return loop_.timers(); }
  void Send(absl::Span<const Slot> slots, const FramePtr& frame,
            SendResult* results) override;
  void Close(Slot slot, CloseCode code, absl::Duration drain_for) override;
  void CloseWithReason(Slot slot, CloseCode code,
                       absl::string_view reason) override;
  void SetReading(Slot slot, bool on) override;
  OutboxBytes Outbox(Slot slot) const override;

  // ---- by its sockets ----

  static constexpr size_t kReadBuffer = 64 * 1024;

  Shard& shard() { return *shard_; }
  ShardStats& stats() { return shard_->stats(); }
  EventLoop& loop() { return loop_; }
  // Every read of this shard lands here; good until the next one.
  char* read_buffer() { return read_buffer_.data(); }

  // For a socket that was accepted; null: it speaks no TLS.
  std::unique_ptr<TlsSession> MakeTls(int fd);
  void OnTlsFailure(const PeerAddress& peer, absl::string_view why);

  // A slot for a socket whose connection is about to be open. `fd` is what a
  // fan-out writes to; -1: only the socket can.
  Slot Join(Socket& socket, int fd, uint64_t max_outbox_bytes);
  // Whether Send may write to it without asking the socket.
  void SetReady(Slot slot, bool ready);
  void Leave(Slot slot);
  // A name for a handshake that the shard is asked about; none is used twice.
  uint64_t NextHandshake();
  // The socket wants the answer, until it forgets.
  void Await(uint64_t handshake, Socket& socket);
  void Forget(uint64_t handshake);
  void OnAnswer(uint64_t handshake, HandshakeAnswer answer);
  // The same within 0.1 s, when the clock ticks.
  void AnswerAtTick(uint64_t handshake, HandshakeAnswer answer);
  // Calls Socket::OnLater in the next turn.
  void Later(Socket& socket);
  // Takes the socket out, and destroys it when nobody can name it any more.
  void Bury(Socket& socket);

 private:
  // All that a fan-out touches of a connection that keeps up.
  struct Hot {
    int fd = -1;
    bool ready = false;
    TurnBatch::Sequence waiting = TurnBatch::kNone;  // for the end of the turn
    uint32_t max_waiting = 0;                        // its bytes
  };

  void Run();
  void OnEvent(void* tag, uint32_t events);
  // Whether there was room for it.
  bool OnAccept(int fd, const sockaddr_storage& peer);
  void EndAll();
  void RunLater();
  void SendEach(absl::Span<const Slot> slots, const FramePtr& frame,
                SendResult* results);
  SendResult SendAtOnce(Slot slot, const FramePtr& frame);
  // Writes what waits for the end of the turn.
  void Flush(Slot slot);
  void FlushAll();

  ThreadRole on_thread_;
  EventLoop loop_;
  std::optional<Acceptor> acceptor_ ABSL_GUARDED_BY(on_thread_);
  Shard* shard_ = nullptr;  // set before the thread starts

  std::vector<Hot> hot_ ABSL_GUARDED_BY(on_thread_);  // by slot
  TurnBatch batch_ ABSL_GUARDED_BY(on_thread_);
  std::vector<Slot> waiting_ ABSL_GUARDED_BY(on_thread_);  // some twice
  uint64_t written_ ABSL_GUARDED_BY(on_thread_) = 0;       // in this turn
  std::vector<Socket*> by_slot_ ABSL_GUARDED_BY(on_thread_);
  std::vector<Slot> free_slots_ ABSL_GUARDED_BY(on_thread_);
  std::vector<std::unique_ptr<Socket>> sockets_ ABSL_GUARDED_BY(on_thread_);
  // Buried: callers up the stack and events of this turn may still name them.
  std::vector<std::unique_ptr<Socket>> graveyard_ ABSL_GUARDED_BY(on_thread_);
  uint64_t handshakes_ ABSL_GUARDED_BY(on_thread_) = 0;
  absl::flat_hash_map<uint64_t, Socket*> awaiting_ ABSL_GUARDED_BY(on_thread_);
  std::vector<std::pair<uint64_t, HandshakeAnswer>> held_
      ABSL_GUARDED_BY(on_thread_);  // until held_timer_
  Timer held_timer_ ABSL_GUARDED_BY(on_thread_);
  std::vector<Socket*> later_ ABSL_GUARDED_BY(on_thread_);
  bool later_posted_ ABSL_GUARDED_BY(on_thread_) = false;
  std::array<char, kReadBuffer> read_buffer_;
  TlsContextPtr tls_ ABSL_GUARDED_BY(on_thread_);
  std::unique_ptr<TlsBuffers> tls_buffers_ ABSL_GUARDED_BY(on_thread_);
  LogLimiter tls_failures_{1};  // one line a second

  std::thread thread_;
};

}  // namespace broker
