#include "broker/control/message.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "broker/control/fields.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/session/envelope.h"
#include "google/protobuf/util/json_util.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::v1;

constexpr size_t kMaxMethodBytes = 256;
constexpr char kMethodField[] = "message.notification.method";

// As a JSON text; empty when there are none.
absl::StatusOr<std::string> ReadParams(const v1::JsonRpcNotification& n) {
  switch (n.params_case()) {
    case v1::JsonRpcNotification::kParamsStruct: {
      std::string json;
      const auto status =
          google::protobuf::util::MessageToJsonString(n.params_struct(), &json);
      if (!status.ok()) {
        return InvalidField("message.notification.params_struct",
                            std::string(status.message()));
      }
      const absl::Status valid = ValidateParams(json);
      if (!valid.ok()) {
        return BelowField("message.notification.params_struct", valid);
      }
      return json;
    }
    case v1::JsonRpcNotification::kParamsJson: {
      const absl::Status valid = ValidateParams(n.params_json());
      if (!valid.ok()) {
        return BelowField("message.notification.params_json", valid);
      }
      return n.params_json();
    }
    case v1::JsonRpcNotification::PARAMS_NOT_SET:
      break;
  }
  return std::string();
}

absl::StatusOr<Outgoing> ReadNotification(const v1::JsonRpcNotification& n) {
  if (n.method().empty()) return InvalidField(kMethodField, "is missing");
  if (n.method().size() > kMaxMethodBytes) {
    return InvalidField(kMethodField,
                        absl::StrCat(n.method().size(), " bytes, at most ",
                                     kMaxMethodBytes, " are allowed"));
  }
  if (absl::StartsWith(n.method(), "rpc.")) {
    return InvalidField(kMethodField,
                        absl::StrCat(Quoted(n.method()),
                                     ": JSON-RPC 2.0 reserves names that begin "
                                     "with rpc."));
  }
  BROKER_ASSIGN_OR_RETURN(const std::string params, ReadParams(n));
  return Outgoing{
      Frame::Encode(Opcode::kText, MakeNotification(n.method(), params)),
      absl::OkStatus()};
}

}  // namespace

absl::StatusOr<Outgoing> ReadMessage(bool present, const v1::Message& message,
                                     std::optional<Framing> framing) {
  switch (message.content_case()) {
    case v1::Message::kText:
      return Outgoing{
          Frame::Encode(Opcode::kText, message.text()),
          framing == Framing::kRaw
              ? absl::OkStatus()
              : BelowField("message.text", ValidateOutgoing(message.text()))};
    case v1::Message::kBinary:
      return Outgoing{Frame::Encode(Opcode::kBinary, message.binary()),
                      absl::OkStatus()};
    case v1::Message::kNotification:
      return ReadNotification(message.notification());
    case v1::Message::CONTENT_NOT_SET:
      break;
  }
  return InvalidField("message", present
                                     ? "has no content: give text, binary or "
                                       "notification"
                                     : "is missing");
}

absl::StatusOr<Outgoing> ReadMessageFor(const std::string& ns,
                                        const Settings& settings, bool present,
                                        const v1::Message& message) {
  const Framing framing = settings.FindNamespace(ns)->framing;
  BROKER_ASSIGN_OR_RETURN(Outgoing outgoing,
                          ReadMessage(present, message, framing));
  BROKER_RETURN_IF_ERROR(
      outgoing.CheckFits(framing, settings.MaxMessageBytes(ns)));
  return outgoing;
}

}  // namespace broker
