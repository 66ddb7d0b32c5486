// Feeds the envelope what clients and services may send, and holds it to what
// it says: whatever it takes, nlohmann's own parser takes too, to the same end.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "broker/session/envelope.h"
#include "tests/fuzz/check.h"

namespace {

using broker::EnvelopeFault;
using broker::EnvelopeKind;
using broker::fuzz::Check;
using Json = nlohmann::json;

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
