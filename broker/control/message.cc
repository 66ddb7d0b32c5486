#include "broker/control/message.h"

#include "broker/control/fields.h"
#include "broker/control/json.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/session/envelope.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::v1;

absl::StatusOr<Outgoing> ReadNotification(const v1::JsonRpcNotification& n) {
  BROKER_RETURN_IF_ERROR(
      control::CheckCallMethod("message.notification.method", n.method()));
  BROKER_ASSIGN_OR_RETURN(const std::string params,
                          control::ReadParams("message.notification.", n));
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
