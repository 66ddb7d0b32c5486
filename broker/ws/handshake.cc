#include "broker/ws/handshake.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "broker/ws/http_head.h"

namespace broker {
namespace {

constexpr absl::string_view kHeadEnd = "\r\n\r\n";
constexpr absl::string_view kProtocolHeader = "Sec-WebSocket-Protocol";
constexpr absl::string_view kTicketProtocol = "ticket.";
constexpr absl::string_view kTicketParameter = "ticket";

absl::string_view StatusText(int status) {
  switch (status) {
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Content Too Large";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Error";
  }
}

std::optional<std::string> PercentDecode(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const absl::string_view digits = text.substr(i + 1, 2);
    if (digits.size() < 2 ||
        !std::all_of(digits.begin(), digits.end(), absl::ascii_isxdigit)) {
      return std::nullopt;
    }
    out += absl::HexStringToBytes(digits);
    i += 2;
  }
  return out;
}

// 16 bytes are 22 digits of base64, of which the last has two bits to say.
bool IsKey(absl::string_view key) {
  if (key.size() != 24 || key.substr(22) != "==") return false;
  const auto is_digit = [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '+' || c == '/';
  };
  return std::all_of(key.begin(), key.begin() + 22, is_digit) &&
         absl::StrContains("AQgw", key[21]);
}

std::optional<Refusal> CheckRequest(const HttpHead& head) {
  if (head.version() != "HTTP/1.1") {
    return Refusal{505, "only HTTP/1.1 can be upgraded"};
  }
  if (head.method() != "GET") {
    return Refusal{405, "only GET opens a WebSocket"};
  }
  if (head.Get("Transfer-Encoding") ||
      head.Get("Content-Length").value_or("0") != "0") {
    return Refusal{413, "an upgrade request has no body"};
  }
  for (const absl::string_view name :
       {"Host", "Origin", "Authorization", "Sec-WebSocket-Key",
        "Sec-WebSocket-Version", "Content-Length"}) {
    if (head.Count(name) > 1) {
      return Refusal{400, absl::StrCat("more than one ", name, " header")};
    }
  }
  if (!head.Get("Host")) return Refusal{400, "the Host header is missing"};
  if (head.target()[0] != '/' || absl::StrContains(head.target(), '#')) {
    return Refusal{400, "the request target must be a path"};
  }
  if (!head.HasToken("Upgrade", "websocket") ||
      !head.HasToken("Connection", "upgrade")) {
    return Refusal{426, "this is a WebSocket endpoint"};
  }
  if (head.Get("Sec-WebSocket-Version") != "13") {
    return Refusal{426, "Sec-WebSocket-Version must be 13"};
  }
  if (!IsKey(head.Get("Sec-WebSocket-Key").value_or(""))) {
    return Refusal{400, "Sec-WebSocket-Key must be 16 bytes in base64"};
  }
  return std::nullopt;
}

// Takes one of the ticket's places. False: it was given before.
bool SetTicket(std::string ticket, HandshakeFacts& facts) {
  if (facts.ticket) return false;
  facts.ticket = std::move(ticket);
  return true;
}

constexpr absl::string_view kTwoTickets = "more than one ticket";

// Splits the target, and takes the ticket out of the query.
std::optional<Refusal> ReadTarget(absl::string_view target,
                                  HandshakeFacts& facts) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(target, absl::MaxSplits('?', 1));
  facts.path = std::string(parts.first);
  for (const absl::string_view parameter : absl::StrSplit(parts.second, '&')) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(parameter, absl::MaxSplits('=', 1));
    // Decoded before it is compared: the secret must not stay in the query
    // under another spelling of its name.
    const std::optional<std::string> name = PercentDecode(pair.first);
    const std::optional<std::string> value = PercentDecode(pair.second);
    if (!name || !value) return Refusal{400, "bad percent-encoding"};
    if (*name == kTicketParameter) {
      if (!SetTicket(*value, facts)) {
        return Refusal{400, std::string(kTwoTickets)};
      }
    } else if (!parameter.empty()) {
      absl::StrAppend(&facts.query, facts.query.empty() ? "" : "&", parameter);
    }
  }
  return std::nullopt;
}

std::optional<Refusal> ReadProtocols(const HttpHead& head, Upgrade& upgrade) {
  for (const absl::string_view offer : head.List(kProtocolHeader)) {
    if (absl::StartsWith(offer, kTicketProtocol)) {
      if (!SetTicket(std::string(offer.substr(kTicketProtocol.size())),
                     upgrade.facts)) {
        return Refusal{400, std::string(kTwoTickets)};
      }
      continue;
    }
    if (offer == kSubprotocol) upgrade.subprotocol = true;
    upgrade.facts.subprotocols.emplace_back(offer);
  }
  return std::nullopt;
}

}  // namespace

size_t FindHeadEnd(absl::string_view data, size_t seen) {
  const size_t from = seen < kHeadEnd.size() ? 0 : seen - kHeadEnd.size() + 1;
  const size_t at = data.find(kHeadEnd, from);
  return at == absl::string_view::npos ? at : at + kHeadEnd.size();
}

std::variant<Upgrade, Refusal> ReadHead(absl::string_view text) {
  const std::optional<HttpHead> head = HttpHead::Parse(text);
  if (!head) return Refusal{400, "malformed request"};
  if (std::optional<Refusal> refusal = CheckRequest(*head)) return *refusal;
  Upgrade upgrade;
  if (std::optional<Refusal> refusal =
          ReadTarget(head->target(), upgrade.facts)) {
    return *refusal;
  }
  if (std::optional<Refusal> refusal = ReadProtocols(*head, upgrade)) {
    return *refusal;
  }
  for (const auto& [name, value] : head->fields()) {
    if (absl::EqualsIgnoreCase(name, kProtocolHeader)) continue;
    upgrade.facts.headers.emplace_back(name, value);
  }
  if (const auto origin = head->Get("Origin")) {
    upgrade.facts.origin = std::string(*origin);
  }
  for (const absl::string_view hop : head->List("X-Forwarded-For")) {
    upgrade.forwarded_for.emplace_back(hop);
  }
  upgrade.key = std::string(*head->Get("Sec-WebSocket-Key"));
  return upgrade;
}

std::string Encode(const Refusal& refusal) {
  std::string head =
      absl::StrCat("HTTP/1.1 ", refusal.status, " ", StatusText(refusal.status),
                   "\r\nContent-Type: text/plain\r\nContent-Length: ",
                   refusal.body.size() + 1, "\r\n");
  if (refusal.status == 426) {
    // Who names an Upgrade must list it in Connection (RFC 9110 section 7.8).
    absl::StrAppend(&head,
                    "Connection: close, Upgrade\r\nUpgrade: websocket\r\n"
                    "Sec-WebSocket-Version: 13\r\n");
  } else {
    absl::StrAppend(&head, "Connection: close\r\n");
  }
  if (refusal.status == 405) absl::StrAppend(&head, "Allow: GET\r\n");
  if (refusal.retry_after_seconds > 0) {
    absl::StrAppend(&head, "Retry-After: ", refusal.retry_after_seconds,
                    "\r\n");
  }
  return absl::StrCat(head, "\r\n", refusal.body, "\n");
}

}  // namespace broker
