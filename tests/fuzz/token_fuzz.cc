// Page and resume tokens: what MakeToken made is read back for the same request
// and no other, and any other bytes are refused with the field's name.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "broker/control/token.h"
#include "broker/core/status.h"
#include "tests/fuzz/check.h"

namespace {

using broker::fuzz::Check;
using broker::fuzz::Input;

void CheckRefused(const absl::Status& status) {
  const auto violations = broker::GetFieldViolations(status);
  Check(absl::IsInvalidArgument(status), "INVALID_ARGUMENT");
  Check(violations.size() == 1 && violations[0].field == "page_token",
        "that names the field");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  const size_t flipped = in.Byte();
  const std::string binding(in.Bytes(in.Byte()));
  const std::string position(in.Bytes(in.Byte()));
  const std::string foreign(in.Rest());

  const std::string token = broker::MakeToken(binding, position);
  const auto read = broker::ReadToken("page_token", token, binding);
  Check(read.ok() && *read == position, "read back");
  for (const char c : token) {
    Check(c > 0x20 && c < 0x7f, "safe in a URL and a terminal");
  }
  const auto other = broker::ReadToken("page_token", token, binding + "x");
  Check(!other.ok(), "for this request only");
  CheckRefused(other.status());
  // Padding and the spare bits of the last digit say nothing: a change there
  // may pass, but never as another position.
  std::string damaged = token;
  damaged[flipped % damaged.size()] ^= 1;
  const auto changed = broker::ReadToken("page_token", damaged, binding);
  Check(!changed.ok() || *changed == position, "a damaged one is not believed");

  const auto strange = broker::ReadToken("page_token", foreign, binding);
  if (strange.ok()) {
    const std::string again = broker::MakeToken(binding, *strange);
    Check(broker::ReadToken("page_token", again, binding).ok(), "one of ours");
  } else {
    CheckRefused(strange.status());
  }

  // Anybody can make a token: what it holds may be anything.
  const std::vector<uint64_t> numbers = broker::UnpackNumbers(foreign);
  if (!numbers.empty()) {
    Check(broker::UnpackNumbers(broker::PackNumbers(numbers)) == numbers,
          "numbers are kept");
  }
  return 0;
}
