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
  return framing == Framing::kJsonRpc ? as_json_rpc : absl::OkStatus();
}

}  // namespace broker
