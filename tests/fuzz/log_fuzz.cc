// Any bytes in the log: one line that no terminal obeys, and in JSON an object
// that nlohmann's parser reads back as what was logged.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "broker/core/log.h"
#include "tests/fuzz/check.h"

namespace {

using broker::LogFormat;
using broker::LogLevel;
using broker::LogValue;
using broker::fuzz::Check;
using Json = nlohmann::json;

constexpr absl::string_view kReplacement = "\xef\xbf\xbd";

std::string LineOf(LogFormat format, absl::string_view sentence,
                   absl::string_view value) {
  static std::string& line = *new std::string;
  static int lines;
  lines = 0;
  broker::SetLogFormat(format);
  broker::SetLogSink([](absl::string_view written) {
    line = std::string(written);
    ++lines;
  });
  broker::Log(LogLevel::kInfo, "fuzz", sentence,
              {{"value", value}, {"count", 7}});
  Check(lines == 1, "one line for one event");
  return line;
}

// Nothing that ends a line, moves a cursor or turns the writing direction, in
// ASCII or beyond.
void CheckHarmless(absl::string_view line) {
  for (const char c : line) {
    Check(!absl::ascii_iscntrl(static_cast<unsigned char>(c)), "no controls");
  }
  for (const char* evil :
       {"\xc2\x80", "\xc2\x85", "\xc2\x9b", "\xc2\x9f", "\xe2\x80\xa8",
        "\xe2\x80\xa9", "\xe2\x80\xaa", "\xe2\x80\xae", "\xe2\x81\xa6",
        "\xe2\x81\xa9", "\xe2\x80\x8e", "\xe2\x80\x8f", "\xef\xbb\xbf"}) {
    Check(!absl::StrContains(line, evil), "none beyond ASCII either");
  }
}

bool IsUtf8(absl::string_view text) {
  try {
    return !Json(std::string(text)).dump().empty();
  } catch (const Json::type_error&) {
    return false;
  }
}

// What is read back is what was logged: all of it when it is short, the
// beginning when it is long, and U+FFFD for what is not UTF-8.
void CheckSame(absl::string_view logged, const std::string& read) {
  const bool cut = logged.size() > LogValue::kMaxText;
  if (!cut && IsUtf8(logged)) {
    Check(read == logged, "read back as it was logged");
    return;
  }
  absl::string_view rest = read;
  if (cut) Check(absl::ConsumeSuffix(&rest, "..."), "what is cut says so");
  absl::string_view left = logged.substr(0, LogValue::kMaxText);
  while (!rest.empty()) {
    Check(!left.empty(), "no more than was logged");
    if (absl::ConsumePrefix(&rest, kReplacement)) {
      if (absl::ConsumePrefix(&left, kReplacement)) continue;
      Check((left[0] & 0x80) != 0, "only what is not ASCII is replaced");
    } else {
      Check(left[0] == rest[0], "the rest is kept");
      rest.remove_prefix(1);
    }
    left.remove_prefix(1);
  }
  Check(left.empty(), "nothing is left out");
}

void CheckJson(absl::string_view text) {
  const std::string line = LineOf(LogFormat::kJson, text, text);
  CheckHarmless(line);
  const Json json = Json::parse(line);  // Throws, and so ends the fuzzer.
  Check(json.size() == 6, "no field was forged");
  Check(json.at("event") == "fuzz" && json.at("level") == "info" &&
            json.at("count") == 7 && json.contains("time"),
        "the line's own are its own");
  CheckSame(text, json.at("value").get<std::string>());
  CheckSame(text, json.at("message").get<std::string>());
}

void CheckText(absl::string_view text) {
  const std::string line = LineOf(LogFormat::kText, "A test.", text);
  CheckHarmless(line);
  absl::string_view value = line;
  value.remove_prefix(line.find("fuzz: A test. value="));
  Check(absl::ConsumePrefix(&value, "fuzz: A test. value="), "in its place");
  Check(absl::ConsumeSuffix(&value, " count=7"), "and the next in its own");
  if (absl::StartsWith(value, "\"")) {
    CheckSame(text, Json::parse(std::string(value)).get<std::string>());
  } else {
    Check(value == text && !absl::StrContains(value, " ") &&
              !absl::StrContains(value, "="),
          "bare only when it is one word");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  CheckJson(text);
  CheckText(text);
  return 0;
}
