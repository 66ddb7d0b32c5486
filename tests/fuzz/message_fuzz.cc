// Any bytes as a Message of a request: refused with the field's name, or framed
// so that clients get the bytes that the service gave.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "broker/control/message.h"
#include "broker/core/status.h"
#include "broker/session/envelope.h"
#include "google/protobuf/stubs/logging.h"
#include "tests/fuzz/check.h"

namespace {

using broker::Framing;
using broker::Opcode;
using broker::fuzz::Check;
using socketbroker::v1::Message;

namespace v1 = socketbroker::v1;

// The payload of a server's frame, put together from its fragments.
std::string Unframe(absl::string_view wire, Opcode opcode) {
  std::string payload;
  bool fin = false;
  for (bool first = true; !fin; first = false) {
    const auto byte = [&](size_t i) {
      return static_cast<uint8_t>(wire.at(i));
    };
    fin = (byte(0) & 0x80) != 0;
    Check((byte(0) & 0x7f) == (first ? static_cast<int>(opcode) : 0),
          "the opcode, and then continuations");
    const size_t extra = byte(1) == 127 ? 8 : byte(1) == 126 ? 2 : 0;
    uint64_t size = extra == 0 ? byte(1) : 0;
    for (size_t i = 0; i < extra; ++i) size = size << 8 | byte(2 + i);
    wire.remove_prefix(2 + extra);
    Check(size <= wire.size(), "a whole frame");
    payload.append(wire.data(), size);
    wire.remove_prefix(size);
  }
  Check(wire.empty(), "and nothing behind it");
  return payload;
}

constexpr broker::MonotonicTime kNow{std::chrono::hours(1)};

// What the service asked for, and nothing when it asked for nothing.
void CheckOptions(const Message& message,
                  const broker::MessageOptions* options) {
  const bool gives_way = message.slow_policy() > v1::SLOW_POLICY_CLOSE;
  Check((options != nullptr) == (message.has_ttl() || gives_way), "options");
  if (options == nullptr) return;
  Check((options->expires_at == broker::MonotonicTime::max()) !=
            message.has_ttl(),
        "a time when there is one");
  if (message.has_ttl()) {
    const auto ttl = options->expires_at - kNow;
    Check(ttl >= std::chrono::milliseconds(1) && ttl <= std::chrono::hours(1),
          "1 ms to 1 h");
  }
  Check((options->slow_policy == broker::SlowPolicy::kClose) == !gives_way,
        "the policy");
  Check(options->conflation_key == message.conflation_key() &&
            options->conflation_key.size() <= 256,
        "the key");
  Check((options->slow_policy == broker::SlowPolicy::kLatest) ==
            !options->conflation_key.empty(),
        "a key with LATEST, and only then");
}

void CheckFramed(const Message& message, const broker::Outgoing& outgoing) {
  const std::string payload =
      Unframe(outgoing.frame->bytes(), outgoing.frame->opcode());
  Check(payload.size() == outgoing.frame->payload_size(), "the size");
  const bool json_rpc = outgoing.CheckFits(Framing::kJsonRpc, 1 << 20).ok();
  if (message.has_text()) {
    Check(payload == message.text(), "the text, byte for byte");
    Check(json_rpc == broker::ValidateOutgoing(payload).ok(),
          "to JSONRPC only what is JSON-RPC");
  } else if (message.has_binary()) {
    Check(payload == message.binary(), "the bytes");
    Check(!json_rpc, "no binary to JSONRPC");
  } else {
    Check(json_rpc && broker::ValidateOutgoing(payload).ok(), "a notification");
    const auto json = nlohmann::json::parse(payload);
    Check(json.at("method") == message.notification().method(), "the method");
    Check(!json.contains("id"), "that nobody answers");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // protobuf reports every string that is not UTF-8 on stderr.
  static const google::protobuf::LogSilencer kSilencer;
  Message message;
  if (!message.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto outgoing = broker::ReadMessage(true, message, kNow);
  if (outgoing.ok()) {
    CheckFramed(message, *outgoing);
    CheckOptions(message, outgoing->frame->options());
    return 0;
  }
  const auto violations = broker::GetFieldViolations(outgoing.status());
  Check(absl::IsInvalidArgument(outgoing.status()), "INVALID_ARGUMENT");
  Check(violations.size() == 1 &&
            absl::StartsWith(violations[0].field, "message"),
        "that names the field");
  return 0;
}
