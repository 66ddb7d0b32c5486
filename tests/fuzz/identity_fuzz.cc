// Any bytes as an Identity of a request: refused with the field's name, or kept
// in one piece of memory and given back as it was, within its limits.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/time/time.h"
#include "broker/control/convert.h"
#include "broker/core/identity_limits.h"
#include "broker/core/status.h"
#include "google/protobuf/stubs/logging.h"
#include "google/protobuf/util/message_differencer.h"
#include "tests/fuzz/check.h"

namespace {

using broker::fuzz::Check;
using socketbroker::v1::Identity;

class FixedClock final : public broker::Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixSeconds(1'000'000); }
  broker::MonotonicTime Monotonic() const override { return {}; }
};

// As it is kept: groups sorted, each once.
Identity Normal(Identity message) {
  std::vector<std::string> groups(message.groups().begin(),
                                  message.groups().end());
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  message.clear_groups();
  for (const std::string& group : groups) message.add_groups(group);
  message.DiscardUnknownFields();
  return message;
}

void CheckKept(const Identity& message, const broker::Identity& identity) {
  Check(!identity.account_id().empty() &&
            identity.account_id().size() <= broker::kMaxKeyBytes,
        "an account");
  Check(!identity.token_hash() || !identity.api_token_id(), "one credential");
  Check(identity.label_count() <= broker::kMaxLabels &&
            identity.group_count() <= broker::kMaxGroups,
        "within the limits");
  for (size_t i = 0; i < identity.label_count(); ++i) {
    Check(identity.FindLabel(identity.label_key(i)) == identity.label_value(i),
          "each label is found");
  }
  for (size_t i = 0; i < identity.group_count(); ++i) {
    Check(identity.FindGroupFrom(identity.group(i)) == i, "each group too");
  }
  Check(*broker::Identity::Make(identity.fields()) == identity, "copied whole");
  broker::ConnectionInfo info;
  info.identity = broker::Identity::Make(identity.fields());
  const Identity back = broker::ToProto(info).identity();
  Check(
      google::protobuf::util::MessageDifferencer::Equals(back, Normal(message)),
      "given back as it was");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // protobuf reports every string that is not UTF-8 on stderr.
  static const google::protobuf::LogSilencer kSilencer;
  static const FixedClock kClock;
  Identity message;
  if (!message.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto identity = broker::ReadIdentity("identity", true, message, kClock);
  if (identity.ok()) {
    CheckKept(message, **identity);
    return 0;
  }
  const auto violations = broker::GetFieldViolations(identity.status());
  Check(absl::IsInvalidArgument(identity.status()), "INVALID_ARGUMENT");
  Check(violations.size() == 1 &&
            absl::StartsWith(violations[0].field, "identity."),
        "that names the field");
  for (const char c : violations[0].description + violations[0].field) {
    Check(c >= 0x20 && c < 0x7f, "in one line");
  }
  return 0;
}
