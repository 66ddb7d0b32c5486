// What comes in: the request head, then frames, and how long to wait for them.

#include "broker/ws/socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <variant>

#include "absl/strings/ascii.h"
#include "broker/ws/io_thread.h"

namespace broker {
namespace {

// So many reads, then others have their turn.
constexpr int kMaxReads = 8;
// With more than this unwritten a ping gets no pong: a client that sends pings
// and reads nothing may not fill the outbox.
constexpr uint64_t kMaxOutboxForPong = 64 * 1024;

}  // namespace

Socket::Socket(IoThread& io, int fd, PeerAddress peer, SocketLease lease,
               SocketOverload overload)
    : io_(io),
      fd_(fd),
      lease_(std::move(lease)),
      opening_(std::make_unique<Opening>()) {
  opening_->peer = std::move(peer);
  opening_->overload = overload;
}

Socket::~Socket() {
  if (fd_ >= 0) close(fd_);
}

void Socket::Start() {
  last_heard_ = io_.loop().now();
  Arm(last_heard_ + io_.shard().settings().limits.handshake_timeout);
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
  if ((events & EPOLLOUT) != 0 && !outbox_.empty()) Flush();
  if (phase_ == Phase::kGone) return;
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
      io_.stats().bytes_in.Add(static_cast<uint64_t>(n));
      Receive({io_.read_buffer(), static_cast<size_t>(n)});
    }
  }
}

void Socket::OnEof() {
  eof_ = true;
  // Who has said all it has to say may still read our last bytes.
  if (phase_ == Phase::kClosing && !outbox_.empty()) return;
  End();
}

void Socket::Receive(absl::Span<char> data) {
  if (phase_ == Phase::kHead) {
    ReceiveHead({data.data(), data.size()});
  } else if (!engine_ended_) {
    engine_.Feed(data);
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

  std::string all = std::move(head);
  std::variant<Upgrade, Refusal> read =
      ReadHead(absl::string_view(all).substr(0, end));
  if (const Refusal* refusal = std::get_if<Refusal>(&read)) {
    return Refuse(*refusal);
  }
  Answer(std::get<Upgrade>(std::move(read)), absl::MakeSpan(all).subspan(end));
}

void Socket::Answer(Upgrade upgrade, absl::Span<char> behind_head) {
  HandshakeFacts& facts = upgrade.facts;
  facts.remote_address = opening_->peer.address;
  facts.remote_port = opening_->peer.port;
  facts.overload = opening_->overload;
  HandshakeAnswer answer = io_.shard().CheckHandshake(std::move(facts));
  if (answer.http_status != 101) {
    return Refuse({answer.http_status, std::move(answer.body),
                   answer.retry_after_seconds});
  }
  opening_->handshake = std::move(answer.handshake);
  Accept(upgrade, behind_head);
}

void Socket::Accept(const Upgrade& upgrade, absl::Span<char> behind_head) {
  endpoint_ = opening_->handshake->endpoint;
  slot_ = io_.Join(*this, fd_, endpoint_->max_outbox_bytes);
  engine_.Start(*this, endpoint_->max_message_bytes, upgrade);
  if (!behind_head.empty()) Receive(behind_head);
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
  io_.SetReady(slot_, outbox_.empty() && !end_pending_);
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
  return outbox_.bytes() < kMaxOutboxForPong;
}

void Socket::OnSignOfLife() {
  last_heard_ = io_.loop().now();
  if (!std::exchange(awaiting_pong_, false) || phase_ != Phase::kOpen) return;
  heartbeat_at_ = last_heard_ + io_.shard().settings().limits.ping_interval;
  ArmOpen();
}

void Socket::OnHeartbeat() {
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
  static const FramePtr ping = Frame::Encode(Opcode::kPing, "");
  Write({{const_cast<char*>(ping->bytes().data()), ping->size()}},
        Outbox::Keep::kUntilDiscard);
  awaiting_pong_ = true;
  heartbeat_at_ = now + limits.pong_timeout;
}

// ---- time -------------------------------------------------------------------

void Socket::Arm(MonotonicTime at) {
  io_.loop().timers().Arm(timer_, at, [this] {
    // The wheel must not be left in the middle of its work.
    try {
      OnTimer();
    } catch (...) {
      EndLater();
    }
  });
}

void Socket::ArmOpen() {
  MonotonicTime at = heartbeat_at_;
  if (slow_since_ != MonotonicTime::max()) {
    at = std::min(at, slow_since_ + endpoint_->soft_outbox_time);
  }
  if (at == MonotonicTime::max()) return timer_.Cancel();
  Arm(at);
}

void Socket::OnOpenTimer() {
  const MonotonicTime now = io_.loop().now();
  if (slow_since_ != MonotonicTime::max() &&
      now >= slow_since_ + endpoint_->soft_outbox_time) {
    return io_.shard().OnSlowConsumer(slot_);
  }
  if (now >= heartbeat_at_) OnHeartbeat();
  if (phase_ == Phase::kOpen) ArmOpen();
}

void Socket::OnTimer() {
  switch (phase_) {
    case Phase::kHead:
      io_.stats().handshake_timeouts.Add();
      return End();
    case Phase::kOpen:
      return OnOpenTimer();
    case Phase::kDraining:
      return CloseNow();
    case Phase::kClosing:
      return Reset();
    case Phase::kGone:
      return;
  }
}

}  // namespace broker
