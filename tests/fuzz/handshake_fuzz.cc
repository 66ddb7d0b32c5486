// Any bytes as a request head: refused with a proper answer, or an upgrade that
// says what the head says. What makes one proper is looked for in the raw text,
// without the parser.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "broker/ws/handshake.h"
#include "broker/ws/http_head.h"
#include "tests/fuzz/check.h"

namespace {

using broker::fuzz::Check;

bool Within(absl::string_view part, absl::string_view whole) {
  return part.empty() ||
         (part.data() >= whole.data() &&
          part.data() + part.size() <= whole.data() + whole.size());
}

void CheckHeadEnd(const std::string& text) {
  const size_t end = broker::FindHeadEnd(text, 0);
  Check(end == absl::string_view::npos ||
            absl::EndsWith(text.substr(0, end), "\r\n\r\n"),
        "a head ends with an empty line");
  for (size_t had = 0; had < std::min<size_t>(text.size(), 64); ++had) {
    const size_t early = broker::FindHeadEnd(text.substr(0, had), 0);
    if (early != absl::string_view::npos) {
      Check(early == end, "the first end is the end");
      break;
    }
    Check(broker::FindHeadEnd(text, had) == end, "the same in any pieces");
  }
}

// The lines of a header, by the dumbest means.
size_t CountLines(const std::string& head, const std::string& name) {
  const std::string lower = absl::AsciiStrToLower(head);
  const std::string line = absl::StrCat("\r\n", name, ":");
  size_t count = 0;
  for (size_t at = lower.find(line); at != std::string::npos;
       at = lower.find(line, at + 1)) {
    ++count;
  }
  return count;
}

void CheckAsSent(const std::string& head) {
  const auto parsed = broker::HttpHead::Parse(head);
  if (!parsed) return;
  Check(Within(parsed->method(), head) && Within(parsed->target(), head),
        "views into the head");
  for (const char* name : {"Host", "Connection", "x"}) {
    Check(parsed->Count(name) == CountLines(head, absl::AsciiStrToLower(name)),
          "each line of a header counts");
    Check((parsed->Count(name) > 0) == parsed->Get(name).has_value(),
          "what is counted is there");
    for (const absl::string_view element : parsed->List(name)) {
      Check(Within(element, head) && !element.empty() &&
                !absl::StrContains(element, ","),
            "elements of a list");
      Check(parsed->HasToken(name, element), "an element is a token");
    }
  }
}

void CheckUpgrade(const std::string& head, const broker::Upgrade& upgrade) {
  Check(absl::StartsWith(head, "GET /"), "GET and a path");
  Check(head.find("\r\n\r\n") == head.size() - 4, "one head and no body");
  Check(std::count(head.begin(), head.end(), '\n') ==
            std::count(head.begin(), head.end(), '\r'),
        "no bare line end");
  for (const char* name :
       {"host", "sec-websocket-key", "sec-websocket-version"}) {
    Check(CountLines(head, name) == 1, "named once");
  }
  Check(CountLines(head, "origin") == (upgrade.facts.origin ? 1 : 0),
        "the origin, once");
  Check(CountLines(head, "transfer-encoding") == 0, "no body");
  Check(CountLines(head, "upgrade") > 0 && CountLines(head, "connection") > 0,
        "asked for");
  std::string key;
  Check(upgrade.key.size() == 24 && absl::Base64Unescape(upgrade.key, &key) &&
            key.size() == 16,
        "a key of 16 bytes");

  const broker::HandshakeFacts& facts = upgrade.facts;
  Check(absl::StartsWith(facts.path, "/"), "a path");
  for (const char c : absl::StrCat(facts.path, facts.query)) {
    Check(absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '#',
          "no control characters");
  }
  Check(!absl::StrContains(facts.path, "?"), "a path without the query");
  // However it is spelled: a `ticket` in the query would be shown in listings.
  for (absl::string_view parameter : absl::StrSplit(facts.query, '&')) {
    const std::string name(parameter.substr(0, parameter.find('=')));
    std::string plain;
    for (size_t i = 0; i < name.size(); ++i) {
      if (name[i] == '%' && i + 2 < name.size()) {
        plain += absl::HexStringToBytes(name.substr(i + 1, 2));
        i += 2;
      } else {
        plain += name[i];
      }
    }
    Check(plain != "ticket", "the ticket is out of the query");
  }
  if (facts.origin) {
    for (const char c : *facts.origin) {
      Check(c != '\r' && c != '\n' && c != '\0', "an origin of one line");
    }
  }
}

void CheckRefusal(const broker::Refusal& refusal) {
  const std::vector<int> documented = {400, 405, 413, 426, 505};
  Check(absl::c_linear_search(documented, refusal.status),
        "a documented status");
  Check(!refusal.body.empty() && !absl::StrContains(refusal.body, "\n"),
        "one line says why");
}

// The answer is HTTP, whatever its text is.
void CheckAnswer(const broker::Refusal& refusal) {
  const std::string answer = Encode(refusal);
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(answer, absl::MaxSplits("\r\n\r\n", 1));
  Check(absl::StartsWith(parts.first,
                         absl::StrCat("HTTP/1.1 ", refusal.status, " ")),
        "a status line");
  Check(parts.second == absl::StrCat(refusal.body, "\n"), "the body");
  const std::string as_request = absl::StrCat(
      "GET / HTTP/1.1\r\n", parts.first.substr(parts.first.find("\r\n") + 2),
      "\r\n\r\n");
  const auto head = broker::HttpHead::Parse(as_request);
  Check(head.has_value(), "proper headers");
  Check(head->Get("Content-Length") == absl::StrCat(parts.second.size()),
        "the length of the body");
  Check(head->HasToken("Connection", "close"), "the end is said");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  CheckHeadEnd(text);
  CheckAsSent(text);
  const auto read = broker::ReadHead(text);
  if (const auto* refusal = std::get_if<broker::Refusal>(&read)) {
    CheckRefusal(*refusal);
    CheckAnswer(*refusal);
  } else {
    CheckUpgrade(text, std::get<broker::Upgrade>(read));
  }
  return 0;
}
