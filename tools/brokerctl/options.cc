#include "tools/brokerctl/options.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

namespace brokerctl {
namespace {

using google::protobuf::util::TimeUtil;

// The longest span that a protobuf Duration holds.
constexpr double kMaxSeconds = 315'576'000'000;

// Seconds in a unit, 0 when there is no such unit.
double SecondsIn(std::string_view unit) {
  if (unit == "ms") return 0.001;
  if (unit == "s") return 1;
  if (unit == "m") return 60;
  if (unit == "h") return 3600;
  if (unit == "d") return 86400;
  return 0;
}

// How long the character is that begins with this byte, 0 for none.
size_t Utf8Length(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) return 2;
  if (first >= 0xE0 && first < 0xF0) return 3;
  if (first >= 0xF0 && first < 0xF5) return 4;
  return 0;
}

}  // namespace

google::protobuf::Duration ParseDuration(const std::string& option,
                                         const std::string& text) {
  double number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const double seconds = number * SecondsIn(std::string_view(rest, end - rest));
  const bool has_unit = SecondsIn(std::string_view(rest, end - rest)) > 0;
  if (error != std::errc() || !has_unit || !(number >= 0) ||
      seconds > kMaxSeconds) {
    throw CLI::ValidationError(
        option, "\"" + text +
                    "\" is not a duration; allowed is a number with ms, s, m, "
                    "h or d, such as 30s");
  }
  // Milliseconds are the smallest unit: no double needs to say more.
  return TimeUtil::MillisecondsToDuration(std::llround(seconds * 1000));
}

bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const size_t length = Utf8Length(first);
    if (length == 0 || text.size() - i < length) return false;
    for (size_t k = 1; k < length; ++k) {
      if ((text[i + k] & 0xC0) != 0x80) return false;
    }
    // Overlong forms, surrogates, and what lies beyond U+10FFFF.
    const auto second =
        static_cast<unsigned char>(length > 1 ? text[i + 1] : 0);
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
        (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) {
      return false;
    }
    i += length;
  }
  return true;
}

CLI::Option* AddDuration(
    CLI::App& app, const std::string& name,
    const std::function<google::protobuf::Duration*()>& field,
    const std::string& description) {
  return AddField(
             app, name,
             [name, field](const std::string& text) {
               *field() = ParseDuration(name, text);
             },
             description)
      ->type_name("DURATION");
}

CLI::Option* AddNumber(CLI::App& app, const std::string& name, uint64_t least,
                       const std::function<void(uint64_t)>& set,
                       const std::string& description) {
  return AddField(
             app, name,
             [name, least, set](const std::string& text) {
               uint64_t number = 0;
               const char* const end = text.data() + text.size();
               const auto [rest, error] =
                   std::from_chars(text.data(), end, number);
               if (error != std::errc() || rest != end || number < least) {
                 throw CLI::ValidationError(
                     name, "\"" + text + "\" is not a number from " +
                               std::to_string(least));
               }
               set(number);
             },
             description)
      ->type_name("NUMBER");
}

CLI::Option* AddRepeated(CLI::App& app, const std::string& name,
                         const std::function<void(const std::string&)>& add,
                         const std::string& description) {
  return app
      .add_option_function<std::vector<std::string>>(
          name,
          [add](const std::vector<std::string>& values) {
            for (const std::string& value : values) add(value);
          },
          description)
      // Else one option would swallow the arguments behind it.
      ->allow_extra_args(false);
}

void SetChoices(CLI::Option* option, const std::vector<std::string>& choices) {
  // Not CLI::IsMember, which adds its own list to --help and has another
  // message.
  option->check([choices](const std::string& value) {
    return std::count(choices.begin(), choices.end(), value) > 0
               ? std::string()
               : "\"" + value + "\" is not known; allowed are " +
                     CLI::detail::join(choices, ", ");
  });
  option->type_name(CLI::detail::join(choices, "|"));
}

void AddIdentity(CLI::App& app, socketbroker::v1::Identity* identity) {
  AddField(
      app, "--account",
      [identity](const auto& id) { identity->set_account_id(id); },
      "The account it belongs to")
      ->required();
  CLI::Option* session = AddField(
      app, "--session-hash",
      [identity](const auto& hash) { identity->set_token_hash(hash); },
      "The session, as the hash of its token");
  AddField(
      app, "--api-token-id",
      [identity](const auto& id) { identity->set_api_token_id(id); },
      "The API token, by its id")
      ->excludes(session);
  AddRepeated(
      app, "--label",
      [identity](const std::string& label) {
        const size_t equals = label.find('=');
        if (equals == 0 || equals == std::string::npos) {
          throw CLI::ValidationError(
              "--label", "\"" + label +
                             "\" is not a label; allowed is key=value, such "
                             "as region=eu");
        }
        (*identity->mutable_labels())[label.substr(0, equals)] =
            label.substr(equals + 1);
      },
      "A label to filter by; may be given many times")
      ->type_name("KEY=VALUE");
  AddRepeated(
      app, "--group",
      [identity](const std::string& group) { identity->add_groups(group); },
      "A group to filter by; may be given many times");
  AddField(
      app, "--expires-in",
      [identity](const std::string& text) {
        *identity->mutable_expires_at() =
            TimeUtil::GetCurrentTime() + ParseDuration("--expires-in", text);
      },
      "When the credential expires, counted from now; without it never")
      ->type_name("DURATION");
}

}  // namespace brokerctl
