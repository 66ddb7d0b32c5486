// Tickets, minted, presented and waited for in any order, against a model of
// what may be taken; each presented in a request head, as a client does. Any
// bytes as a ticket are a ticket that nobody minted.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "broker/hub/tickets.h"
#include "broker/ws/handshake.h"
#include "tests/fuzz/check.h"

namespace {

using broker::MonotonicTime;
using broker::fuzz::Check;
using broker::fuzz::Input;

struct Minted {
  std::string secret;
  std::string ns;
  std::optional<std::string> origin;  // the one that is allowed; unset: any
  MonotonicTime expires;
  uint64_t epoch = 0;
  bool taken = false;
};

// The head of a request that presents a ticket: in a list of subprotocols or in
// the query, with neighbours.
std::string Present(absl::string_view ticket, uint8_t how) {
  const bool neighbours = (how & 1) != 0;
  const bool query = (how & 2) != 0;
  std::string target = "/ws";
  std::string offers = neighbours ? "chat, " : "";
  if (query) {
    absl::StrAppend(&target, neighbours ? "?a=ticket&" : "?", "ticket=");
    for (const char c : ticket) {
      const bool plain =
          absl::ascii_isalnum(static_cast<unsigned char>(c)) && (how & 4) == 0;
      absl::StrAppend(
          &target,
          plain ? std::string(1, c)
                : absl::StrCat("%", absl::BytesToHexString(std::string(1, c))));
    }
    if (neighbours) absl::StrAppend(&target, "&b");
    absl::StrAppend(&offers, "socketbroker.v1");
  } else {
    absl::StrAppend(&offers, "socketbroker.v1, ticket.", ticket);
  }
  return absl::StrCat("GET ", target,
                      " HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                      "Sec-WebSocket-Protocol: ",
                      offers, "\r\n\r\n");
}

// What an element of a list of subprotocols can be and stay itself.
bool FitsSubprotocol(absl::string_view ticket) {
  return std::all_of(ticket.begin(), ticket.end(), [](unsigned char c) {
    return absl::ascii_isgraph(c) && c != ',';
  });
}

// The ticket as the broker reads it from the head.
std::string ThroughHead(absl::string_view ticket, uint8_t how) {
  const bool query = (how & 2) != 0;
  if (!query && !FitsSubprotocol(ticket)) return std::string(ticket);
  const auto read = broker::ReadHead(Present(ticket, how));
  Check(std::holds_alternative<broker::Upgrade>(read), "a proper request");
  const broker::Upgrade& upgrade = std::get<broker::Upgrade>(read);
  Check(upgrade.subprotocol, "the subprotocol is seen beside the ticket");
  Check(upgrade.facts.ticket == ticket, "the ticket arrives as it was sent");
  Check(upgrade.facts.query == (query && (how & 1) != 0 ? "a=ticket&b" : ""),
        "the query without it");
  return *upgrade.facts.ticket;
}

class Game {
 public:
  void Mint(Input& in) {
    Minted minted;
    const uint8_t options = in.Byte();
    minted.ns = (options & 1) != 0 ? "other" : "default";
    if ((options & 2) != 0) minted.origin = "https://a.example";
    minted.expires = now_ + std::chrono::seconds(1 + (options >> 4));
    minted.epoch = minted_.size() + 1;
    broker::Ticket ticket;
    ticket.ns = minted.ns;
    ticket.verified_at_epoch = minted.epoch;
    ticket.expires = minted.expires;
    if (minted.origin) ticket.allowed_origins = {*minted.origin};
    const auto secret = tickets_.Mint(std::move(ticket), now_);
    Check(secret.ok() && secret->size() == 43, "256 bits");
    for (const unsigned char c : *secret) {
      Check(absl::ascii_isalnum(c) || c == '-' || c == '_', "of base64url");
    }
    for (const Minted& other : minted_) {
      Check(other.secret != *secret, "that nobody had before");
    }
    minted.secret = *secret;
    minted_.push_back(std::move(minted));
  }

  void TakeMinted(Input& in) {
    if (minted_.empty()) return;
    Minted& minted = minted_[in.Byte() % minted_.size()];
    const uint8_t options = in.Byte();
    const std::string ns = (options & 1) != 0 ? "other" : "default";
    std::optional<std::string> origin;
    if ((options & 6) == 2) origin = "https://a.example";
    if ((options & 6) == 4) origin = "https://a.example.evil";
    const bool good = !minted.taken && now_ < minted.expires &&
                      ns == minted.ns &&
                      (!minted.origin || origin == minted.origin);
    const std::string presented = ThroughHead(minted.secret, options >> 4);
    const auto ticket = tickets_.Take(presented, ns, origin, now_);
    Check(ticket.has_value() == good, "taken when, and only when, it is good");
    if (!ticket) return;
    Check(ticket->verified_at_epoch == minted.epoch, "the ticket itself");
    minted.taken = true;
  }

  // One of the minted, changed, cut or padded; or any text.
  void TakeOther(Input& in) {
    const uint8_t options = in.Byte();
    std::string secret;
    if ((options & 1) != 0 && !minted_.empty()) {
      secret = minted_[in.Byte() % minted_.size()].secret;
      secret.resize(secret.size() - std::min<size_t>(in.Byte() % 4, 3));
    }
    const absl::string_view tail = in.Until('\n');
    secret.append(tail.data(), tail.size());
    for (const Minted& minted : minted_) {
      if (minted.secret == secret) return;
    }
    const std::string presented = ThroughHead(secret, options >> 4);
    for (const char* ns : {"default", "other"}) {
      Check(!tickets_.Take(presented, ns, "https://a.example", now_),
            "nobody minted it");
    }
  }

  void Wait(Input& in) { now_ += std::chrono::milliseconds(in.Byte() * 20); }

  void CheckCount() const {
    size_t good = 0;
    size_t live = 0;
    for (const Minted& minted : minted_) {
      good += minted.taken ? 0 : 1;
      live += !minted.taken && now_ < minted.expires ? 1 : 0;
    }
    // What has expired is dropped with the next mint or take.
    Check(tickets_.outstanding() >= live && tickets_.outstanding() <= good,
          "as many as were not taken");
  }

 private:
  broker::Tickets tickets_;
  MonotonicTime now_{std::chrono::hours(1)};
  std::vector<Minted> minted_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, std::min<size_t>(size, 4096));
  Game game;
  while (!in.empty()) {
    switch (in.Byte() % 4) {
      case 0:
        game.Mint(in);
        break;
      case 1:
        game.TakeMinted(in);
        break;
      case 2:
        game.TakeOther(in);
        break;
      default:
        game.Wait(in);
    }
    game.CheckCount();
  }
  return 0;
}
