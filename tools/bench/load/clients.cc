// Connecting, reading and checking.

#include "tools/bench/load/clients.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace bench {
namespace {

// So many clients share a source address, for the sake of its ports.
constexpr size_t kPerSource = 15'000;

}  // namespace

bool Clients::Connect(const Target& target,
                      const std::vector<std::string>& tickets, size_t flight,
                      uint64_t deadline_ns) {
  const size_t refused_before = refused_;
  const size_t settled_before = open_ + refused_ + tally_.closes;
  positions_.resize((clients_.size() + tickets.size()) * kMaxSenders);
  clients_.reserve(clients_.size() + tickets.size());
  size_t next = 0;
  const auto settled = [&] {
    return open_ + refused_ + tally_.closes - settled_before;
  };
  const bool in_time = PollUntil(deadline_ns, [&] {
    while (next < tickets.size() && next - settled() < flight) {
      Start(target, tickets[next++]);
    }
    return settled() >= tickets.size();
  });
  return in_time && refused_ == refused_before;
}

void Clients::Start(const Target& target, const std::string& ticket) {
  const size_t index = clients_.size();
  const auto source = static_cast<uint8_t>(1 + index / kPerSource);
  Client& client = clients_.emplace_back();
  client.fd = StartConnect(target.port, source, target.receive_buffer);
  epoll_.Add(client.fd, EPOLLIN, index);
  // On loopback the connection is there when connect returns.
  if (!target.tls) {
    Write(client, UpgradeRequest(target.path, ticket));
    return;
  }
  client.tls = std::make_unique<Tls>(tls_);
  requests_[index] = UpgradeRequest(target.path, ticket);
  WriteWire(client, client.tls->Outgoing());
  client.tls->Sent();
}

std::string_view Clients::Decrypt(size_t index, std::string_view bytes) {
  Client& client = clients_[index];
  plain_.clear();
  if (!client.tls->Decrypt(bytes, &plain_)) Fault("the server's TLS is wrong");
  WriteWire(client, client.tls->Outgoing());
  client.tls->Sent();
  if (client.state == State::kHandshake && client.tls->ready()) {
    if (const auto request = requests_.extract(index)) {
      Write(client, request.mapped());
    }
  }
  return plain_;
}

void Clients::Poll(int wait_ms) {
  epoll_.Poll(busy_ ? 0 : wait_ms, [this](uint64_t index, uint32_t) {
    Read(static_cast<size_t>(index));
  });
}

void Clients::Read(size_t index) {
  Client& client = clients_[index];
  if (client.state == State::kGone) return;
  const ssize_t size = recv(client.fd, buffer_.data(), buffer_.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) return End(index);
  std::string_view bytes(buffer_.data(), static_cast<size_t>(size));
  if (client.tls != nullptr) bytes = Decrypt(index, bytes);
  if (client.state == State::kHandshake) bytes = ReadResponse(index, bytes);
  if (client.state == State::kHandshake || bytes.empty()) return;
  const uint64_t now = NowNs();
  const bool good =
      client.in.Feed(bytes, [&](uint8_t opcode, std::string_view payload) {
        Take(index, opcode, payload, now);
      });
  if (!good) {
    Fault(client.in.fault());
    End(index);
  }
}

std::string_view Clients::ReadResponse(size_t index, std::string_view bytes) {
  // The head comes in one piece nearly always.
  std::string& head = heads_[index];
  const size_t before = head.size();
  head.append(bytes);
  const size_t end = head.find("\r\n\r\n");
  if (end == std::string::npos) return {};
  const std::string response = std::exchange(head, {}).substr(0, end + 2);
  heads_.erase(index);
  bytes.remove_prefix(end + 4 - before);
  Client& client = clients_[index];
  if (response.compare(0, 13, "HTTP/1.1 101 ") != 0) {
    Refuse(client, response.substr(9, 3));
  } else if (response.find(kAccept) == std::string::npos) {
    Refuse(client, "a wrong Sec-WebSocket-Accept");
  } else {
    client.state = State::kOpen;
    ++open_;
  }
  return client.state == State::kOpen ? bytes : std::string_view();
}

void Clients::Refuse(Client& client, const std::string& why) {
  ++refused_;
  ++refusals_[why];
  client.state = State::kGone;
  close(std::exchange(client.fd, -1));
}

void Clients::Take(size_t index, uint8_t opcode, std::string_view payload,
                   uint64_t now) {
  if (opcode == kText || opcode == kBinary) {
    TakeMessage(index, opcode, payload, now);
  } else if (opcode == kPing) {
    ++tally_.pings;
    std::string pong;
    AppendClientFrame(kPong, payload, &pong);
    Write(clients_[index], pong);
  } else if (opcode == kPong) {
    ++tally_.pongs;
  } else {
    TakeClose(index, payload);
  }
}

void Clients::TakeMessage(size_t index, uint8_t opcode,
                          std::string_view payload, uint64_t now) {
  Stamp stamp;
  ++tally_.messages;
  tally_.bytes += payload.size();
  tally_.last_message_ns = now;
  if (clients_[index].state != State::kOpen) {
    return Fault("a message came after the close frame");
  }
  if (opcode == kText) return TakeReply(index, payload, now);
  if (opcode != kBinary || !checker_.Check(payload, &stamp)) {
    return Fault("a message is not one that was sent: " +
                 std::string(payload.substr(0, 80)));
  }
  const uint64_t sender = SenderOf(stamp.sequence);
  if (sender >= kMaxSenders) return Fault("a message has an unknown sender");
  uint32_t& last = positions_[index * kMaxSenders + sender];
  const auto count = static_cast<uint32_t>(CountOf(stamp.sequence));
  const bool next = expect_ == Expect::kAll ? count == last + 1 : count > last;
  if (last != 0 && !next) {
    Fault("message " + std::to_string(count) + " of sender " +
          std::to_string(sender) + " came after " + std::to_string(last));
  }
  last = count;
  tally_.latency_ns.Add(now > stamp.sent_ns ? now - stamp.sent_ns : 0);
}

void Clients::TakeClose(size_t index, std::string_view payload) {
  if (clients_[index].state != State::kOpen) {
    return Fault("a second close frame came");
  }
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(payload[i]); };
  const int code = payload.size() < 2 ? 1005 : byte(0) << 8 | byte(1);
  clients_[index].state = State::kClosing;
  CountClose(std::to_string(code));
  unanswered_closes_.push_back(index);
  if (!hold_close_answers_) HoldCloseAnswers(false);
}

void Clients::CountClose(const std::string& code) {
  --open_;
  ++tally_.closes;
  ++tally_.codes[code];
  tally_.last_close_ns = NowNs();
}

void Clients::HoldCloseAnswers(bool hold) {
  hold_close_answers_ = hold;
  if (hold) return;
  for (const size_t index : std::exchange(unanswered_closes_, {})) {
    if (clients_[index].state == State::kClosing) AnswerClose(index);
  }
}

void Clients::AnswerClose(size_t index) {
  std::string answer;
  AppendClientFrame(kClose, "", &answer);
  Write(clients_[index], answer);
}

void Clients::Fault(const std::string& what) {
  if (tally_.faults++ == 0) tally_.first_fault = what;
}

// The other side has ended the connection, or broken it.
void Clients::End(size_t index) {
  Client& client = clients_[index];
  if (client.state == State::kHandshake) {
    heads_.erase(index);
    requests_.erase(index);
    return Refuse(client, "closed");
  }
  if (client.state == State::kOpen) CountClose("1006");
  client.state = State::kGone;
  client.in.Clear();
  close(std::exchange(client.fd, -1));
}

void Clients::Reset(Expect expect) {
  expect_ = expect;
  tally_ = Tally();
  std::fill(positions_.begin(), positions_.end(), 0);
}

}  // namespace bench
