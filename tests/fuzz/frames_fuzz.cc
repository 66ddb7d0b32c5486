// Frames of a client, through the engine that the daemon has: any bytes, or
// frames put together from any headers and payloads. Held against a reader of
// RFC 6455 that is as dumb as can be, and against themselves: however TCP cuts
// the bytes, the engine says the same.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "broker/ws/engine.h"
#include "broker/ws/socket.h"
#include "tests/fuzz/check.h"

namespace {

using broker::Engine;
using broker::Socket;
using broker::fuzz::Check;
using broker::fuzz::Input;
using Said = Socket::Said;
using What = Said::What;

constexpr uint16_t kOurCode = 4001;

// What does not come out of the bytes.
struct Setup {
  uint64_t max_message = 0;
  bool answer_pings = true;
  // The broker closes at the message with this number; 0: it does not.
  int close_at = 0;
};

enum class Utf8 : uint8_t { kWhole, kCut, kBad };

// Of what is cut it is only known that some end would make it whole.
Utf8 CheckUtf8(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i++]);
    const int more = lead < 0x80 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4) return Utf8::kBad;
    for (int k = 0; k < more; ++k, ++i) {
      if (i == text.size()) return Utf8::kCut;
      const auto next = static_cast<uint8_t>(text[i]);
      uint8_t low = 0x80;
      uint8_t high = 0xbf;
      if (k == 0 && lead == 0xe0) low = 0xa0;   // else it is overlong
      if (k == 0 && lead == 0xed) high = 0x9f;  // else a surrogate
      if (k == 0 && lead == 0xf0) low = 0x90;
      if (k == 0 && lead == 0xf4) high = 0x8f;  // else over U+10FFFF
      if (next < low || next > high) return Utf8::kBad;
    }
  }
  return Utf8::kWhole;
}
bool IsUtf8(absl::string_view text) { return CheckUtf8(text) == Utf8::kWhole; }

// What may be in a close frame: what RFC 6455 section 7.4 defines and what was
// registered since, to 1014; and what is for libraries and applications.
bool IsCloseCode(uint16_t code) {
  if (code == 1004 || code == 1005 || code == 1006) return false;
  return (code >= 1000 && code < 1015) || (code >= 3000 && code < 5000);
}

std::string ServerFrame(uint8_t opcode, absl::string_view payload) {
  std::string frame{static_cast<char>(0x80 | opcode),
                    static_cast<char>(payload.size())};
  frame.append(payload.data(), payload.size());
  return frame;
}

// The dumb reader. It looks at whole frames only, and so may find out later
// than the engine that something is wrong, but finds the same messages.
class Reader {
 public:
  Reader(const Setup& setup, absl::string_view bytes)
      : setup_(setup), in_(bytes) {
    while (!over_ && !in_.empty() && ReadFrame()) {
    }
    unfinished_ = !over_ && (!in_.empty() || message_);
  }

  const std::vector<Said>& said() const { return said_; }
  // The connection is over, and `said` is all there is.
  bool over() const { return over_; }
  // The engine may be over it already: something that has begun is wrong.
  bool unfinished() const { return unfinished_; }
  // Its end is one of these, by the client's fault; the engine may name another
  // fault of the same frame.
  bool violated() const { return violated_; }

 private:
  bool Violated() {
    over_ = true;
    violated_ = true;
    return false;
  }

  // False: there is no whole frame, or it is over.
  bool ReadFrame() {
    if (in_.size() < 2) return false;
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(in_[i]); };
    const uint8_t opcode = byte(0) & 0x0f;
    const bool fin = byte(0) >> 7 != 0;
    const bool control = opcode >= 8;
    size_t header = 2;
    uint64_t size = byte(1) & 0x7f;
    const size_t extra = size == 127 ? 8 : size == 126 ? 2 : 0;
    if ((byte(0) & 0x70) != 0 || byte(1) >> 7 == 0) return Violated();
    if (opcode > 10 || (opcode > 2 && opcode < 8)) return Violated();
    if (control ? !fin || extra != 0 : (opcode == 0) != message_.has_value()) {
      return Violated();
    }
    if (in_.size() < header + extra + 4) return false;
    if (extra != 0) size = 0;
    for (size_t i = 0; i < extra; ++i) size = size << 8 | byte(header + i);
    if (extra == 2 && size < 126) return Violated();
    if (extra == 8 && (size < 65536 || size >> 63 != 0)) return Violated();
    header += extra;
    const size_t before = message_ && !control ? message_->size() : 0;
    if (!control && size > setup_.max_message - before) return Violated();
    const absl::string_view mask = in_.substr(header, 4);
    header += 4;
    if (in_.size() - header < size) return false;
    std::string payload(in_.substr(header, size));
    for (size_t i = 0; i < payload.size(); ++i) payload[i] ^= mask[i % 4];
    in_.remove_prefix(header + size);
    if (control) return Control(opcode, payload);
    if (opcode != 0) {
      opcode_ = opcode;
      message_.emplace();
    }
    *message_ += payload;
    if (opcode_ == 1 && CheckUtf8(*message_) == Utf8::kBad) return Violated();
    return !fin || Message();
  }

  bool Message() {
    if (opcode_ == 1 && !IsUtf8(*message_)) return Violated();
    if (!closing_) {
      said_.push_back({What::kMessage, opcode_, *message_});
      if (++messages_ == setup_.close_at) {
        closing_ = true;
        said_.push_back({What::kClose, kOurCode,
                         ServerFrame(8, std::string("\x0f\xa1", 2) + "bye")});
      }
    }
    message_.reset();
    return true;
  }

  bool Control(uint8_t opcode, const std::string& payload) {
    if (opcode == 9 && !closing_ && setup_.answer_pings) {
      said_.push_back({What::kFrame, 0, ServerFrame(10, payload)});
    }
    if (opcode != 8) return true;
    uint16_t code = 1000;
    std::string answer("\x03\xe8", 2);
    if (!payload.empty()) {
      if (payload.size() == 1) return Violated();
      code = static_cast<uint16_t>(static_cast<uint8_t>(payload[0]) << 8 |
                                   static_cast<uint8_t>(payload[1]));
      if (!IsCloseCode(code)) return Violated();
      if (!IsUtf8(absl::string_view(payload).substr(2))) return Violated();
      answer = payload;
    }
    if (!closing_)
      said_.push_back({What::kClose, code, ServerFrame(8, answer)});
    said_.push_back({What::kEnded, 0, ""});
    over_ = true;
    return false;
  }

  const Setup& setup_;
  absl::string_view in_;
  std::optional<std::string> message_;  // what there is of it
  uint16_t opcode_ = 0;
  int messages_ = 0;
  bool closing_ = false;
  bool over_ = false;
  bool unfinished_ = false;
  bool violated_ = false;
  std::vector<Said> said_;
};

// How long the next piece is: all there is, one byte, or by and by anything.
class Cuts {
 public:
  enum class Kind : uint8_t { kNone, kBytes, kRandom };
  Cuts(Kind kind, uint32_t seed) : kind_(kind), state_(seed | 1) {}
  size_t Next() {
    if (kind_ == Kind::kNone) return SIZE_MAX;
    if (kind_ == Kind::kBytes) return 1;
    state_ = state_ * 1664525 + 1013904223;
    return 1 + (state_ >> 16) % ((state_ & 0x8000) != 0 ? 8 : 300);
  }

 private:
  Kind kind_;
  uint32_t state_;
};

std::vector<Said> Play(const Setup& setup, const std::string& bytes,
                       Cuts cuts) {
  Socket socket;
  Engine engine;
  int messages = 0;
  socket.answer_pings = setup.answer_pings;
  socket.on_message = [&] {
    if (++messages == setup.close_at) {
      Check(engine.Close(kOurCode, "bye"), "the broker may close");
      Check(!engine.Close(kOurCode, "bye"), "but once");
    }
  };
  broker::Upgrade upgrade;
  upgrade.key = "dGhlIHNhbXBsZSBub25jZQ==";
  engine.Start(socket, setup.max_message, upgrade);
  Check(absl::StrContains(socket.head(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "the accept key of RFC 6455 section 1.3");
  for (size_t at = 0; at < bytes.size();) {
    // A copy of its own size: to read past it is an error.
    std::string piece(absl::string_view(bytes).substr(at, cuts.Next()));
    std::vector<char> exact(piece.begin(), piece.end());
    at += exact.size();
    engine.Feed(absl::MakeSpan(exact));
  }
  return socket.said();
}

void CheckAgainst(const Reader& reader, std::vector<Said> said) {
  // What the engine says of a violation, when it sees one; the reader sees the
  // same in the end, or not enough of it.
  const bool ended = !said.empty() && said.back().what == What::kEnded;
  if (reader.violated() || (reader.unfinished() && ended)) {
    Check(ended, "a violation is the end");
    said.pop_back();
    if (said.size() > reader.said().size()) {
      const Said& close = said.back();
      Check(close.what == What::kClose, "and nothing else");
      Check(
          close.number == 1002 || close.number == 1007 || close.number == 1009,
          "by a documented code");
      Check(close.bytes.size() <= 127 && close.bytes.size() >= 4 &&
                static_cast<uint8_t>(close.bytes[0]) == 0x88 &&
                static_cast<uint8_t>(close.bytes[1]) == close.bytes.size() - 2,
            "in one close frame");
      Check(static_cast<uint8_t>(close.bytes[2]) << 8 ==
                    (close.number & 0xff00) &&
                static_cast<uint8_t>(close.bytes[3]) == (close.number & 0xff),
            "that has this code");
      Check(IsUtf8(absl::string_view(close.bytes).substr(4)), "in UTF-8");
      said.pop_back();
    }
  }
  Check(said == reader.said(),
        "the messages, pongs and close that RFC 6455 says");
}

// Frames with all that a client may choose, and lengths and masks that fit
// unless a bit says otherwise: most bytes would be refused at the first frame.
std::string Frames(Input& in) {
  std::string out;
  while (!in.empty()) {
    const uint8_t first = in.Byte();
    const uint8_t how = in.Byte();
    const absl::string_view payload = in.Bytes(in.Byte());
    std::string repeated;
    const int times = (how & 0x30) == 0x30 ? 600 : (how & 0x30) == 0x20 ? 3 : 1;
    for (int i = 0; i < times; ++i)
      repeated.append(payload.data(), payload.size());
    const uint64_t size = (how & 0x0f) == 0x0f   ? repeated.size() | 1ull << 63
                          : (how & 0x0f) == 0x0e ? repeated.size() + 1
                                                 : repeated.size();
    const int width =
        (how & 0x0f) == 0x0f || (how & 0x0f) == 0x0d || size > 65535 ? 8
        : (how & 0x0f) == 0x0c || size > 125                         ? 2
                                                                     : 0;
    const uint8_t masked = (how & 0x0f) == 0x0b ? 0 : 0x80;
    out += static_cast<char>(first);
    out += static_cast<char>(masked | (width == 8   ? 127
                                       : width == 2 ? 126
                                                    : size));
    for (int i = width - 1; i >= 0; --i)
      out += static_cast<char>(size >> 8 * i);
    const uint8_t mask = how >> 6;  // 0: the payload as it is
    if (masked != 0) out.append(4, static_cast<char>(mask));
    for (const char c : repeated) {
      out += masked != 0 ? static_cast<char>(c ^ mask) : c;
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr uint64_t kLimits[] = {0, 125, 4096, 65536};
  Input in(data, size);
  const uint8_t options = in.Byte();
  Setup setup;
  setup.max_message = kLimits[options & 3];
  setup.answer_pings = (options & 4) == 0;
  setup.close_at = options >> 3 & 3;
  const uint32_t seed = in.Byte();
  const std::string bytes =
      (options & 0x20) != 0 ? std::string(in.Rest()) : Frames(in);

  const std::vector<Said> whole =
      Play(setup, bytes, Cuts(Cuts::Kind::kNone, 0));
  CheckAgainst(Reader(setup, bytes), whole);
  for (const Said& said : whole) {
    if (said.what != What::kMessage) continue;
    Check(said.bytes.size() <= setup.max_message, "the limit holds");
  }
  Check(Play(setup, bytes, Cuts(Cuts::Kind::kRandom, seed)) == whole,
        "the same in any pieces");
  if (bytes.size() < 512) {
    Check(Play(setup, bytes, Cuts(Cuts::Kind::kBytes, 0)) == whole,
          "the same byte by byte");
  }
  Check(Engine::live_connections() == 0, "nothing is left");
  return 0;
}
