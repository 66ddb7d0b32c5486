// Stands in for broker/ws/socket.h when the engine is fuzzed: a Socket that
// notes what the engine says, in the engine's own words. It holds the engine to
// the order in which a Socket may hear from it.

#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "broker/session/frame.h"
#include "tests/fuzz/check.h"

namespace broker {

class Socket {
 public:
  struct Said {
    enum class What : uint8_t { kMessage, kFrame, kClose, kEnded };
    What what = What::kEnded;
    // kMessage: the opcode; kClose: the code.
    uint16_t number = 0;
    std::string bytes;

    friend bool operator==(const Said& a, const Said& b) {
      return a.what == b.what && a.number == b.number && a.bytes == b.bytes;
    }
  };

  // Called with each message, before the engine goes on.
  std::function<void()> on_message = [] {};
  bool answer_pings = true;

  const std::string& head() const { return head_; }
  const std::vector<Said>& said() const { return said_; }

  // ---- by the Engine ----

  void EngineWroteHead(const iovec& head) {
    fuzz::Check(head_.empty() && said_.empty(), "one head, before all else");
    head_.assign(static_cast<const char*>(head.iov_base), head.iov_len);
  }
  void EngineOpened() {
    fuzz::Check(!head_.empty() && !opened_, "opened once, behind the head");
    opened_ = true;
  }
  void EngineGotMessage(Opcode opcode, std::string payload) {
    fuzz::Check(opened_ && !closed_ && !ended_, "a message while it is open");
    Note(Said::What::kMessage, static_cast<uint16_t>(opcode),
         std::move(payload));
    on_message();
  }
  bool EngineGotPing() const {
    fuzz::Check(opened_ && !closed_ && !ended_, "a ping while it is open");
    return answer_pings;
  }
  void EngineWroteFrame(absl::Span<const iovec> parts) {
    fuzz::Check(!closed_ && !ended_, "no frame behind a close frame");
    Note(Said::What::kFrame, 0, Join(parts));
  }
  void EngineWroteClose(absl::Span<const iovec> parts, uint16_t code) {
    fuzz::Check(!closed_ && !ended_, "one close frame");
    closed_ = true;
    Note(Said::What::kClose, code, Join(parts));
  }
  void EngineEnded() {
    fuzz::Check(!ended_, "ended once");
    ended_ = true;
    Note(Said::What::kEnded, 0, "");
  }

 private:
  void Note(Said::What what, uint16_t number, std::string bytes) {
    said_.push_back({what, number, std::move(bytes)});
  }
  static std::string Join(absl::Span<const iovec> parts) {
    std::string all;
    for (const iovec& part : parts) {
      all.append(static_cast<const char*>(part.iov_base), part.iov_len);
    }
    return all;
  }

  std::string head_;
  std::vector<Said> said_;
  bool opened_ = false;
  bool closed_ = false;
  bool ended_ = false;
};

}  // namespace broker
