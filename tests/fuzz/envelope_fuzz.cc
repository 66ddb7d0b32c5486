// Feeds the envelope what clients and services may send, and holds it to what
// it says: whatever it takes, nlohmann's own parser takes too, to the same end.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/string_view.h"
#include "broker/session/envelope.h"
#include "tests/fuzz/check.h"

namespace {

using broker::Envelope;
using broker::EnvelopeFault;
using broker::EnvelopeKind;
using broker::fuzz::Check;
using Json = nlohmann::json;

// What is relayed of a text is what stands there.
void CheckParts(const Json& json, const Envelope& envelope) {
  const auto is = [&](absl::string_view part, const char* member) {
    if (!json.contains(member)) return part.empty();
    return !part.empty() &&
           Json::parse(part.begin(), part.end()) == json[member];
  };
  const bool reply = envelope.kind == EnvelopeKind::kResponse ||
                     envelope.kind == EnvelopeKind::kErrorResponse;
  Check(is(envelope.params_json, "params"), "the params");
  Check(is(envelope.outcome_json,
           envelope.kind == EnvelopeKind::kErrorResponse ? "error" : "result"),
        "the result or the error");
  if (reply && json["id"].is_string()) {
    Check(envelope.reply_to == json["id"], "what it replies to");
  } else {
    Check(envelope.reply_to.empty(), "nothing that it replies to");
  }
  Check(envelope.traceparent.empty() ||
            json["traceparent"] == envelope.traceparent,
        "the trace context");
  // What goes under an id is a response that a client reads as such.
  if (reply) {
    const bool result = envelope.kind == EnvelopeKind::kResponse;
    const auto again = broker::ParseEnvelope(broker::MakeReply(
        "7", result ? "result" : "error", envelope.outcome_json));
    Check(again.fault == EnvelopeFault::kNone &&
              again.envelope.kind == envelope.kind,
          "and may be sent on");
    Check(result || broker::ValidateError(envelope.outcome_json).ok(),
          "an error object");
  }
  const absl::string_view id = broker::FindCancelledId(envelope.params_json);
  Check(id.empty() || !Json::parse(id.begin(), id.end()).is_structured(),
        "what is cancelled is a value");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto [fault, reason, envelope] = broker::ParseEnvelope(text);
  const bool sendable = broker::ValidateOutgoing(text).ok();
  const bool params = broker::ValidateParams(text).ok();
  Check(reason.empty() == (fault == EnvelopeFault::kNone),
        "a reason with every fault");

  if (fault == EnvelopeFault::kNone) {
    const Json json = Json::parse(text);  // Throws, and so ends the fuzzer.
    Check(json.at("jsonrpc") == "2.0", "the version");
    Check(json.contains("id") == !envelope.id_json.empty(), "an id is seen");
    if (json.contains("id")) {
      Check(Json::parse(envelope.id_json) == json.at("id"), "and kept");
    }
    Check(json.value("method", "") == envelope.method, "the method");
    Check(json.contains("result") == (envelope.kind == EnvelopeKind::kResponse),
          "a result is a response");
    Check(json.contains("error") ==
              (envelope.kind == EnvelopeKind::kErrorResponse),
          "an error is an error response");
    CheckParts(json, envelope);
    Check(sendable == (envelope.kind != EnvelopeKind::kRequest),
          "all but requests may be sent");
  } else {
    Check(!sendable, "nothing broken is sent");
    Check(broker::ParseEnvelope(broker::MakeErrorReply(envelope.id_json,
                                                       static_cast<int>(fault),
                                                       reason))
                  .fault == EnvelopeFault::kNone,
          "the reply is proper");
  }
  if (params) Check(Json::parse(text).is_structured(), "params are structured");
  return 0;
}
