// Feeds the envelope what clients and services may send, and holds it to what
// it says: whatever it takes, nlohmann's own parser takes too, to the same end.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "broker/session/envelope.h"

namespace {

using broker::EnvelopeFault;
using broker::EnvelopeKind;
using Json = nlohmann::json;

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto [fault, reason, envelope] = broker::ParseEnvelope(text);
  const bool sendable = broker::ValidateOutgoing(text).ok();
  const bool params = broker::ValidateParams(text).ok();
  Require(reason.empty() == (fault == EnvelopeFault::kNone));

  if (fault == EnvelopeFault::kNone) {
    const Json json = Json::parse(text);  // Throws, and so ends the fuzzer.
    Require(json.at("jsonrpc") == "2.0");
    Require(json.contains("id") == !envelope.id_json.empty());
    if (json.contains("id")) {
      Require(Json::parse(envelope.id_json) == json.at("id"));
    }
    Require(json.value("method", "") == envelope.method);
    Require(json.contains("result") ==
            (envelope.kind == EnvelopeKind::kResponse));
    Require(json.contains("error") ==
            (envelope.kind == EnvelopeKind::kErrorResponse));
    Require(sendable == (envelope.kind != EnvelopeKind::kRequest));
  } else {
    Require(!sendable);
    Require(broker::ParseEnvelope(
                broker::MakeErrorReply(envelope.id_json,
                                       static_cast<int>(fault), reason))
                .fault == EnvelopeFault::kNone);
  }
  if (params) Require(Json::parse(text).is_structured());
  return 0;
}
