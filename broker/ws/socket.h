// Socket: one client's TCP connection, from accept to close: the request head,
// then the WebSocket, then its end. Deadlines, reads and every byte that leaves
// are here; what the bytes mean is the Engine's.
//
// Confined to the shard's thread, and owned by its IoThread. It is never
// destroyed by its own methods: End() has it buried.

#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "broker/core/timer_wheel.h"
#include "broker/hub/caps.h"
#include "broker/hub/handshake.h"
#include "broker/hub/transport.h"
#include "broker/ws/engine.h"
#include "broker/ws/handshake.h"
#include "broker/ws/net.h"
#include "broker/ws/outbox.h"
#include "broker/ws/tls_session.h"

namespace broker {

class IoThread;

class Socket {
 public:
  // `proxied`: the peer is a trusted proxy, and the client is behind it.
  Socket(IoThread& io, int fd, PeerAddress peer, bool proxied,
         SocketLease lease, SocketOverload overload);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // ---- by the IoThread ----

  void Start();
  void OnEvent(uint32_t events);
  // What was put off with IoThread::Later.
  void OnLater();
  // Ends it at once, whatever it was doing. Not from within a Transport method
  // or one of the Engine's calls.
  void End();

  // The answer to its handshake, which was not there at once.
  void OnLateAnswer(HandshakeAnswer answer);

  // Ends it in the next turn; until then it is as good as gone.
  void EndLater();
  // Something was thrown on its behalf: it ends with 1011 or 500, or if that
  // fails, too, just so.
  void Fault() noexcept;

  // See Transport. At once: nothing waits for the end of the turn.
  SendResult Send(const FramePtr& frame);
  // Offers bytes to the kernel, as Outbox::Writer, by way of TLS if there is
  // any. The outbox must be empty, or what it offers.
  ssize_t SendBytes(const iovec* parts, size_t count);
  // The kernel took `sent` bytes of the frames, or the socket is dead: -1.
  void SendRest(absl::Span<const FramePtr> frames, ssize_t sent);
  void Close(CloseCode code, absl::Duration drain_for);
  void CloseWithReason(CloseCode code, absl::string_view reason);
  // What was read already is still handed on.
  void SetReading(bool on);
  Transport::OutboxBytes outbox_bytes() const { return {queued(), peak_}; }

  size_t index = 0;  // among the IoThread's sockets

  // ---- by the Engine ----

  void EngineWroteHead(const iovec& head);
  void EngineOpened();
  void EngineGotMessage(Opcode opcode, std::string payload);
  // Whether to answer it.
  bool EngineGotPing();
  void EngineWroteFrame(absl::Span<const iovec> parts);
  void EngineWroteClose(absl::Span<const iovec> parts, uint16_t code);
  // It has nothing more to say.
  void EngineEnded();

 private:
  enum class Phase : uint8_t {
    kHead,      // the request head is awaited
    kAsked,     // and then the answer to it, which somebody else has
    kOpen,      // a WebSocket
    kDraining,  // it is to be closed; the outbox has its time first
    kClosing,   // the last bytes, a close frame or an HTTP answer, are written
    kGone,
  };

  // What comes in: socket.cc.
  void Read();
  void ReceiveTls(absl::string_view ciphertext);
  void OnTlsFailure();
  // Whether nothing is read: not now, or never again.
  bool deaf() const;
  void Receive(absl::Span<char> data);
  void ReceiveHead(absl::string_view data);
  // Who is behind the proxy. False: that cannot be told, and it was refused.
  bool NameClient();
  void ReceiveFrames(absl::Span<char> data);
  void Ask();
  void OnAnswer(HandshakeAnswer answer);
  void Accept();
  void Refuse(const Refusal& refusal);
  void OnEof();
  void OnSignOfLife();
  void OnHeartbeat();

  // What goes out: socket_output.cc.
  // All that was accepted and the kernel has not taken.
  uint64_t queued() const {
    return outbox_.bytes() + (tls_ != nullptr ? tls_->rest() : 0);
  }
  bool idle() const { return queued() == 0; }
  // Tells the statistics what has changed in the meantime.
  void Account();
  SendResult SendWithOptions(const FramePtr& frame);
  // Returns what the kernel took of it, or -1: the socket is dead.
  ssize_t SendNow(const FramePtr& frame);
  // Whether the outbox has room for the frame.
  bool HasRoom(const Frame& frame);
  // The same below the soft limit, if need be in the place of an older one.
  bool MakeRoom(const Frame& frame);
  // Takes out the messages whose time is over. Returns whether there were any.
  bool Expire();
  void OnTakenOut();
  // Tells trackers how their messages ended.
  void TellEnds();
  void Write(absl::Span<const iovec> parts, Outbox::Keep keep);
  template <typename... Args>
  void Push(Args&&... args);
  void Flush();
  void OnFlushed();
  void CloseNow() { CloseNow(CloseReason(close_code_)); }
  void CloseNow(absl::string_view reason);
  void BeginClosing();
  void HalfClose();
  void Reset();
  void ReadLater();
  void Later();

  // Whether the outbox is over its soft limit, and since when.
  void WatchOutbox();
  // Returns whether that is news.
  bool SetSlow(bool slow);

  // One timer serves all phases: what it means depends on the phase. While open
  // it is for the heartbeat, the soft limit, the end of a client's message or
  // of the time of one to it, whichever comes first.
  void Arm(MonotonicTime at);
  void ArmOpen();
  void ArmDraining();
  MonotonicTime MessageDeadline() const;
  void OnTimer();
  void OnOpenTimer();

  IoThread& io_;
  int fd_;
  Phase phase_ = Phase::kHead;
  bool opened_ = false;        // the shard knows it
  bool readable_ = false;      // since the last edge, until EAGAIN
  bool paused_ = false;        // see SetReading
  bool hung_up_ = false;       // an edge told of the client's FIN, or worse
  bool eof_ = false;           // and it has been read
  bool engine_ended_ = false;  // nothing follows what is in the outbox
  bool end_pending_ = false;   // see EndLater
  bool later_ = false;         // OnLater is on its way
  bool awaiting_pong_ = false;
  Slot slot_ = kNoSlot;
  CloseCode close_code_ = CloseCode::kRemoved;  // of Close
  uint16_t wire_code_ = kAbnormalClosure;
  uint32_t pings_ = 0;  // since ping_second_
  MonotonicTime ping_second_;
  MonotonicTime last_heard_;
  MonotonicTime drain_deadline_;
  MonotonicTime heartbeat_at_ = MonotonicTime::max();
  MonotonicTime slow_since_ = MonotonicTime::max();
  MonotonicTime message_since_ = MonotonicTime::max();
  // Once there is a handshake: it, and then the shard, keep it for us.
  const EndpointSettings* endpoint_ = nullptr;
  Outbox outbox_;
  uint64_t accounted_ = 0;  // of queued()
  uint64_t peak_ = 0;       // of queued()
  uint64_t dropped_ = 0;    // that came after its close had begun
  std::unique_ptr<TlsSession> tls_;
  Engine engine_;
  SocketLease lease_;
  Timer timer_;

  // What only the handshake needs.
  struct Opening {
    PeerAddress peer;
    bool proxied;
    SocketOverload overload;
    std::string head;
    uint64_t id = 0;  // in phase kAsked
    Upgrade upgrade;
    std::string behind_head;
    std::unique_ptr<Handshake> handshake;
  };
  std::unique_ptr<Opening> opening_;

  static constexpr Slot kNoSlot = ~Slot{0};
};

}  // namespace broker
