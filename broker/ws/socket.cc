// What comes in: the request head, then frames, and how long to wait for them.

#include "broker/ws/socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/ascii.h"
#include "broker/ws/forwarded.h"
#include "broker/ws/io_thread.h"

namespace broker {
namespace {

// So many reads, then others have their turn.
constexpr int kMaxReads = 8;
// With more than this unwritten a ping gets no pong: a client that sends pings
// and reads nothing may not fill the outbox.
constexpr uint64_t kMaxOutboxForPong = 64 * 1024;
// What is read and dropped of who is being closed, beside a message that may
// have been under way: its close frame is behind that. The rest is not worth
// our time, and stays with the kernel.
constexpr uint64_t kMaxDropped = 1024 * 1024;

}  // namespace

Socket::Socket(IoThread& io, int fd, PeerAddress peer, bool proxied,
               SocketLease lease, SocketOverload overload)
    : io_(io),
      fd_(fd),
      lease_(std::move(lease)),
      opening_(std::make_unique<Opening>()) {
  opening_->peer = std::move(peer);
  opening_->proxied = proxied;
  opening_->overload = overload;
  tls_ = io_.MakeTls(fd);
}

Socket::~Socket() {
  if (fd_ >= 0) close(fd_);
}

void Socket::Start() {
  last_heard_ = io_.loop().now();
  Arm(last_heard_ + io_.shard().settings().limits.handshake_timeout);
  // Who is to be refused has waited, see Acceptor, and mostly sent its request:
  // then the answer is all there is to do.
  if (opening_->overload == SocketOverload::kTotal) {
    readable_ = true;
    Read();
    const bool answered = phase_ == Phase::kClosing && idle();
    if (answered && !readable_) return End();
    if (phase_ == Phase::kGone) return;
  }
  // Edges: one epoll_ctl in a connection's life. It reports bytes that are
  // there already, too.
  if (!io_.loop().Watch(fd_, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, this)) {
    io_.stats().accept_failures.Add();
    End();
  }
}

void Socket::OnEvent(uint32_t events) {
  if (phase_ == Phase::kGone) return;  // ended earlier in this turn
  hung_up_ |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  if ((events & EPOLLOUT) != 0 && (!idle() || outbox_.has_ends())) Flush();
  if (phase_ == Phase::kGone) return;
  // Nobody needs the answer any more.
  if (hung_up_ && phase_ == Phase::kAsked) return End();
  if (deaf() && (events & (EPOLLHUP | EPOLLERR)) != 0) return End();
  if (hung_up_ || (events & EPOLLIN) != 0) {
    readable_ = true;
    Read();
  }
}

void Socket::OnLater() {
  later_ = false;
  if (phase_ == Phase::kGone) return;
  if (end_pending_) return End();
  if (readable_) Read();
}

// A short read means that there is no more, so that a message costs one recv;
// only a client that hangs up is read to its end.
void Socket::Read() {
  for (int i = 0; readable_ && phase_ != Phase::kGone; ++i) {
    if (phase_ == Phase::kAsked) return;  // and once more at the answer
    if (deaf()) return;
    if (i == kMaxReads) return ReadLater();
    const ssize_t n = recv(fd_, io_.read_buffer(), IoThread::kReadBuffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      readable_ = false;
    } else if (n < 0) {
      End();
    } else if (n == 0) {
      readable_ = false;
      OnEof();
    } else {
      readable_ = hung_up_ || static_cast<size_t>(n) == IoThread::kReadBuffer;
      OnSignOfLife();
      const auto size = static_cast<size_t>(n);
      if (phase_ > Phase::kOpen) dropped_ += size;
      tls_ != nullptr ? ReceiveTls({io_.read_buffer(), size})
                      : Receive({io_.read_buffer(), size});
    }
  }
}

bool Socket::deaf() const {
  if (phase_ == Phase::kOpen) return paused_;
  const uint64_t message =
      endpoint_ != nullptr ? endpoint_->max_message_bytes : 0;
  return dropped_ > message + kMaxDropped;
}

void Socket::OnEof() {
  eof_ = true;
  // Who has said all it has to say may still read our last bytes.
  if (phase_ == Phase::kClosing && !idle()) return;
  End();
}

void Socket::ReceiveTls(absl::string_view ciphertext) {
  const auto received = tls_->Receive(ciphertext, [&](absl::Span<char> data) {
    Receive(data);
    return phase_ != Phase::kGone;
  });
  if (phase_ == Phase::kGone) return;
  Account();
  switch (received) {
    case TlsSession::Received::kOk:
      return;
    case TlsSession::Received::kEnd:
      return OnEof();
    case TlsSession::Received::kNoTls:
      tls_.reset();
      return Refuse({400, "this port speaks TLS: connect to wss://"});
    case TlsSession::Received::kFailed:
      return OnTlsFailure();
  }
}

// Who may not know what is wrong yet has time to read the alert.
void Socket::OnTlsFailure() {
  if (phase_ != Phase::kHead) return End();
  io_.OnTlsFailure(opening_->peer, tls_->failure());
  io_.stats().handshakes.Add(0);
  opening_.reset();
  EngineEnded();
}

void Socket::Receive(absl::Span<char> data) {
  io_.stats().bytes_in.Add(data.size());
  if (phase_ == Phase::kHead) {
    ReceiveHead({data.data(), data.size()});
  } else if (phase_ == Phase::kAsked) {
    opening_->behind_head.append(data.data(), data.size());  // of this read
  } else if (!engine_ended_) {
    ReceiveFrames(data);
  }
}

void Socket::ReceiveFrames(absl::Span<char> data) {
  const uint32_t ended = engine_.messages_ended();
  engine_.Feed(data);
  if (phase_ != Phase::kOpen) return;
  if (!engine_.inside_message()) {
    message_since_ = MonotonicTime::max();
  } else if (message_since_ == MonotonicTime::max() ||
             engine_.messages_ended() != ended) {
    message_since_ = last_heard_;
    ArmOpen();
  }
}

// ---- the handshake ----------------------------------------------------------

void Socket::ReceiveHead(absl::string_view data) {
  std::string& head = opening_->head;
  const size_t seen = head.size();
  if (seen == 0 && !absl::ascii_isalpha(static_cast<unsigned char>(data[0]))) {
    return Refuse({400, "malformed request"});  // TLS, most likely
  }
  head.append(data.data(), data.size());
  const size_t limit = io_.shard().settings().limits.max_header_bytes;
  const size_t end = FindHeadEnd(head, seen);
  if (end == absl::string_view::npos ? head.size() > limit : end > limit) {
    return Refuse({431, "the request head is too large"});
  }
  if (end == absl::string_view::npos) return;

  const std::string all = std::move(head);
  std::variant<Upgrade, Refusal> read =
      ReadHead(absl::string_view(all).substr(0, end));
  if (const Refusal* refusal = std::get_if<Refusal>(&read)) {
    return Refuse(*refusal);
  }
  opening_->upgrade = std::get<Upgrade>(std::move(read));
  opening_->behind_head = all.substr(end);
  if (NameClient()) Ask();
}

bool Socket::NameClient() {
  if (!opening_->proxied) return true;
  std::optional<PeerAddress> client =
      FindClient(opening_->peer, opening_->upgrade.forwarded_for,
                 io_.shard().settings().trusted_proxies);
  if (!client) {
    Refuse({400, "X-Forwarded-For must be a list of IP addresses"});
    return false;
  }
  opening_->peer = *std::move(client);
  const SocketOverload overload =
      io_.shard().caps().NameClient(opening_->peer.address, lease_);
  if (opening_->overload == SocketOverload::kNone) {
    opening_->overload = overload;
  }
  return true;
}

// While the answer is awaited nothing is read: what the client sends waits in
// the kernel, and websocketpp does not know of the connection.
void Socket::Ask() {
  HandshakeFacts& facts = opening_->upgrade.facts;
  facts.remote_address = opening_->peer.address;
  facts.remote_port = opening_->peer.port;
  facts.overload = opening_->overload;
  facts.tls = tls_ != nullptr;
  const uint64_t id = io_.NextHandshake();
  HandshakeAnswer answer = io_.shard().CheckHandshake(
      std::move(facts), [io = &io_, id](HandshakeAnswer late) {
        io->OnAnswer(id, std::move(late));
      });
  if (!answer.later && answer.http_status != 401) {
    return OnAnswer(std::move(answer));
  }
  phase_ = Phase::kAsked;
  opening_->id = id;
  io_.Await(id, *this);
  // What was wrong with a ticket must not be told by the time it took.
  if (!answer.later) io_.AnswerAtTick(id, std::move(answer));
}

void Socket::OnLateAnswer(HandshakeAnswer answer) {
  phase_ = Phase::kHead;
  OnAnswer(std::move(answer));
  // What came in the meantime.
  if (readable_ && phase_ != Phase::kGone) ReadLater();
}

void Socket::OnAnswer(HandshakeAnswer answer) {
  if (answer.http_status != 101) {
    return Refuse({answer.http_status, std::move(answer.body),
                   answer.retry_after_seconds});
  }
  opening_->handshake = std::move(answer.handshake);
  Accept();
}

void Socket::Accept() {
  const Upgrade upgrade = std::move(opening_->upgrade);
  std::string behind_head = std::move(opening_->behind_head);
  endpoint_ = opening_->handshake->endpoint;
  slot_ =
      io_.Join(*this, tls_ == nullptr ? fd_ : -1, endpoint_->max_outbox_bytes);
  engine_.Start(*this, endpoint_->max_message_bytes, upgrade);
  if (!behind_head.empty()) Receive(absl::MakeSpan(behind_head));
}

void Socket::Refuse(const Refusal& refusal) {
  io_.stats().handshakes.Add(refusal.status);
  opening_.reset();
  const std::string answer = Encode(refusal);
  Write({{const_cast<char*>(answer.data()), answer.size()}},
        Outbox::Keep::kAlways);
  BeginClosing();
  EngineEnded();
}

// The 101 is written: what the shard sends from here on comes behind it.
void Socket::EngineOpened() {
  io_.stats().handshakes.Add(101);
  phase_ = Phase::kOpen;
  opened_ = true;
  std::unique_ptr<Handshake> handshake = std::move(opening_->handshake);
  opening_.reset();
  io_.SetReady(slot_, idle() && !end_pending_);
  const auto interval = io_.shard().settings().limits.ping_interval;
  if (interval.count() > 0) heartbeat_at_ = last_heard_ + interval;
  ArmOpen();
  io_.shard().OnOpen(slot_, std::move(handshake));
}

// ---- messages and pings -----------------------------------------------------

void Socket::EngineGotMessage(Opcode opcode, std::string payload) {
  if (phase_ != Phase::kOpen) return;
  io_.shard().OnMessage(slot_, opcode, std::move(payload));
}

bool Socket::EngineGotPing() {
  io_.stats().pings_in.Add();
  if (phase_ != Phase::kOpen) return false;
  if (last_heard_ - ping_second_ >= std::chrono::seconds(1)) {
    ping_second_ = last_heard_;
    pings_ = 0;
  }
  const uint32_t limit = io_.shard().settings().limits.max_pings_per_second;
  if (++pings_ > limit && limit != 0) {
    io_.shard().OnPingFlood(slot_);
    return false;
  }
  return queued() < kMaxOutboxForPong;
}

void Socket::SetReading(bool on) {
  paused_ = !on;
  if (!on || phase_ != Phase::kOpen) return;
  // The time in which nothing was read is not the client's.
  last_heard_ = io_.loop().now();
  if (message_since_ != MonotonicTime::max()) message_since_ = last_heard_;
  if (heartbeat_at_ != MonotonicTime::max()) {
    const Limits& limits = io_.shard().settings().limits;
    heartbeat_at_ = last_heard_ + (awaiting_pong_ ? limits.pong_timeout
                                                  : limits.ping_interval);
  }
  ArmOpen();
  if (readable_) ReadLater();
}

void Socket::OnSignOfLife() {
  last_heard_ = io_.loop().now();
  if (!std::exchange(awaiting_pong_, false) || phase_ != Phase::kOpen) return;
  heartbeat_at_ = last_heard_ + io_.shard().settings().limits.ping_interval;
  ArmOpen();
}

void Socket::OnHeartbeat() {
  if (paused_) {
    // Whether it lives cannot be told, but when it has hung up.
    if (hung_up_) return End();
    heartbeat_at_ =
        io_.loop().now() + io_.shard().settings().limits.ping_interval;
    return;
  }
  if (awaiting_pong_) {
    // If the thread was held up, the pong may be waiting for us.
    readable_ = true;
    Read();
    if (phase_ != Phase::kOpen) return;
    if (awaiting_pong_) return io_.shard().OnHeartbeatTimeout(slot_);
  }
  const Limits& limits = io_.shard().settings().limits;
  heartbeat_at_ = MonotonicTime::max();
  if (limits.ping_interval.count() == 0) return;
  const MonotonicTime now = io_.loop().now();
  heartbeat_at_ = last_heard_ + limits.ping_interval;
  if (now < heartbeat_at_) return;
  // Even over the outbox's limit: two bytes, and never twice.
  static const FramePtr kPing = Frame::Encode(Opcode::kPing, "");
  Write({{const_cast<char*>(kPing->bytes().data()), kPing->size()}},
        Outbox::Keep::kUntilDiscard);
  awaiting_pong_ = true;
  heartbeat_at_ = now + limits.pong_timeout;
}

}  // namespace broker
