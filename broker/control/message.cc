#include "broker/control/message.h"

#include <chrono>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "broker/control/fields.h"
#include "broker/control/json.h"
#include "broker/core/quoted.h"
#include "broker/core/status.h"
#include "broker/core/status_macros.h"
#include "broker/session/envelope.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::v1;

constexpr absl::Duration kMinTtl = absl::Milliseconds(1);
constexpr absl::Duration kMaxTtl = absl::Hours(1);
constexpr size_t kMaxConflationKeyBytes = 256;

absl::StatusOr<MonotonicTime> ReadExpiry(const v1::Message& message,
                                         MonotonicTime now) {
  BROKER_ASSIGN_OR_RETURN(
      const auto ttl,
      ReadDuration("message.ttl", message.has_ttl(), message.ttl(), kMaxTtl));
  if (!ttl) return MonotonicTime::max();
  if (*ttl < kMinTtl) {
    return InvalidField("message.ttl", absl::StrCat(absl::FormatDuration(*ttl),
                                                    ": must be 1ms to 1h"));
  }
  return now + std::chrono::milliseconds(absl::ToInt64Milliseconds(*ttl));
}

absl::StatusOr<SlowPolicy> ReadSlowPolicy(const v1::Message& message) {
  switch (message.slow_policy()) {
    case v1::SLOW_POLICY_UNSPECIFIED:
    case v1::SLOW_POLICY_CLOSE:
      return SlowPolicy::kClose;
    case v1::SLOW_POLICY_DROP:
      return SlowPolicy::kDrop;
    case v1::SLOW_POLICY_LATEST:
      return SlowPolicy::kLatest;
    default:
      return InvalidField("message.slow_policy",
                          absl::StrCat(message.slow_policy(),
                                       " is none: must be CLOSE (1), DROP (2) "
                                       "or LATEST (3)"));
  }
}

absl::Status CheckConflationKey(const v1::Message& message) {
  static constexpr char kField[] = "message.conflation_key";
  const bool latest = message.slow_policy() == v1::SLOW_POLICY_LATEST;
  const std::string& key = message.conflation_key();
  if (latest && key.empty()) {
    return InvalidField(kField,
                        "is missing: slow_policy LATEST needs one of 1 to 256 "
                        "bytes");
  }
  if (!latest && !key.empty()) {
    return InvalidField(
        kField, absl::StrCat(Quoted(key), " is only for slow_policy LATEST"));
  }
  if (key.size() > kMaxConflationKeyBytes) {
    return InvalidField(kField,
                        absl::StrCat(key.size(), " bytes, at most ",
                                     kMaxConflationKeyBytes, " are allowed"));
  }
  return absl::OkStatus();
}

// Null: none, as with most messages.
absl::StatusOr<MessageOptionsPtr> ReadOptions(const v1::Message& message,
                                              MonotonicTime now,
                                              OutcomeTrackerPtr tracker) {
  MessageOptions options;
  BROKER_ASSIGN_OR_RETURN(options.slow_policy, ReadSlowPolicy(message));
  BROKER_RETURN_IF_ERROR(CheckConflationKey(message));
  BROKER_ASSIGN_OR_RETURN(options.expires_at, ReadExpiry(message, now));
  if (!message.has_ttl() && options.slow_policy == SlowPolicy::kClose &&
      tracker == nullptr) {
    return MessageOptionsPtr();
  }
  options.conflation_key = message.conflation_key();
  options.tracker = std::move(tracker);
  return std::make_shared<const MessageOptions>(std::move(options));
}

absl::StatusOr<Outgoing> ReadNotification(const v1::JsonRpcNotification& n,
                                          MessageOptionsPtr options) {
  BROKER_RETURN_IF_ERROR(
      control::CheckCallMethod("message.notification.method", n.method()));
  BROKER_ASSIGN_OR_RETURN(const std::string params,
                          control::ReadParams("message.notification.", n));
  return Outgoing{
      Frame::Encode(Opcode::kText, MakeNotification(n.method(), params),
                    std::move(options)),
      absl::OkStatus()};
}

}  // namespace

absl::StatusOr<Outgoing> ReadMessage(bool present, const v1::Message& message,
                                     MonotonicTime now,
                                     OutcomeTrackerPtr tracker,
                                     std::optional<Framing> framing) {
  BROKER_ASSIGN_OR_RETURN(MessageOptionsPtr options,
                          ReadOptions(message, now, std::move(tracker)));
  switch (message.content_case()) {
    case v1::Message::kText:
      return Outgoing{
          Frame::Encode(Opcode::kText, message.text(), std::move(options)),
          framing == Framing::kRaw
              ? absl::OkStatus()
              : BelowField("message.text", ValidateOutgoing(message.text()))};
    case v1::Message::kBinary:
      return Outgoing{
          Frame::Encode(Opcode::kBinary, message.binary(), std::move(options)),
          absl::OkStatus()};
    case v1::Message::kNotification:
      return ReadNotification(message.notification(), std::move(options));
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
                                        const v1::Message& message,
                                        MonotonicTime now,
                                        OutcomeTrackerPtr tracker) {
  const Framing framing = settings.FindNamespace(ns)->framing;
  BROKER_ASSIGN_OR_RETURN(
      Outgoing outgoing,
      ReadMessage(present, message, now, std::move(tracker), framing));
  BROKER_RETURN_IF_ERROR(
      outgoing.CheckFits(framing, settings.MaxMessageBytes(ns)));
  return outgoing;
}

}  // namespace broker
