// Any bytes as the text of a filter: refused with a place, or parsed to a tree
// that compiles, and that is written and read back as itself.

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "broker/core/identity.h"
#include "broker/core/status.h"
#include "broker/filter/compiler.h"
#include "broker/filter/limits.h"
#include "broker/filter/text_parser.h"
#include "broker/filter/text_writer.h"
#include "tests/fuzz/check.h"

using broker::fuzz::Check;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = broker::ParseFilter(text);
  if (!parsed.ok()) {
    const auto violations = broker::GetFieldViolations(parsed.status());
    Check(absl::IsInvalidArgument(parsed.status()), "INVALID_ARGUMENT");
    Check(violations.size() == 1, "one violation");
    Check(violations[0].field == "filter", "the field is filter");
    Check(absl::StartsWith(violations[0].description, "at character "),
          "the place");
    return 0;
  }
  const auto predicate = broker::CompileFilter(*parsed);
  Check(predicate.ok(), "what is parsed compiles");
  (*predicate)->Matches(broker::ConnectionInfo());

  const std::string written = broker::FilterToText(*parsed);
  if (written.size() > broker::kMaxBytes) return 0;
  const auto again = broker::ParseFilter(written);
  Check(again.ok(), "what is written parses");
  const auto same = broker::CompileFilter(*again);
  Check(same.ok(), "what is written compiles");
  Check((*same)->fingerprint() == (*predicate)->fingerprint(),
        "what is written is the same tree");
  return 0;
}
