#include "broker/hub/outgoing.h"

#include "absl/strings/str_cat.h"
#include "broker/core/status.h"

namespace broker {

absl::Status Outgoing::CheckFits(Framing framing,
                                 uint64_t max_message_bytes) const {
  if (frame->payload_size() > max_message_bytes) {
    return InvalidField("message",
                        absl::StrCat(frame->payload_size(), " bytes, at most ",
                                     max_message_bytes, " are allowed here"));
  }
  if (framing == Framing::kRaw) return absl::OkStatus();
  if (frame->opcode() == Opcode::kBinary) {
    return InvalidField("message.binary",
                        "is not for a namespace whose endpoints have framing "
                        "JSONRPC: send text or a notification");
  }
  return as_json_rpc;
}

absl::Status CheckRequestFits(const Frame& request,
                              uint64_t max_message_bytes) {
  if (request.payload_size() <= max_message_bytes) return absl::OkStatus();
  return InvalidField(
      "params",
      absl::StrCat("make a request of ", request.payload_size(),
                   " bytes, at most ", max_message_bytes, " are allowed here"));
}

}  // namespace broker
