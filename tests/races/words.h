// What the simulation and its specification talk about, in small numbers: two
// namespaces, two accounts, four credentials, three values of one label.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace broker::races {

using Milliseconds = int64_t;

inline constexpr int kNamespaces = 2;
inline constexpr int kAccounts = 2;

enum class Credential : uint8_t { kDaemon, kSession0, kSession1, kToken };
inline constexpr int kCredentials = 4;

// The label "l".
enum class Label : uint8_t { kAbsent, kX, kY };
inline constexpr int kLabels = 3;

struct Who {
  uint8_t account = 0;
  Credential credential = Credential::kDaemon;
  Label label = Label::kAbsent;
  friend bool operator==(const Who&, const Who&) = default;
};

enum class TargetKind : uint8_t { kSession, kAccount, kToken, kFilter };

// The filters that can be chosen, as text and as what they mean.
enum class Filter : uint8_t {
  kLabelIsX,
  kLabelIsNotX,  // matches connections without the label, and unbound ones
  kAccount0WithY,
  kSession1,
  kUnbound,
};
inline constexpr int kFilters = 5;
inline constexpr const char* kFilterTexts[kFilters] = {
    "labels.l = \"x\"",
    "NOT labels.l = \"x\"",
    "account_id = \"a0\" AND labels.l = \"y\"",
    "token_hash = \"s1\"",
    "NOT account_id:*",
};

struct Target {
  TargetKind kind = TargetKind::kAccount;
  uint8_t account = 0;                            // kAccount
  Credential credential = Credential::kSession0;  // kSession, kToken
  std::optional<Credential> keep;                 // kAccount: a session
  Filter filter = Filter::kLabelIsX;              // kFilter
  std::optional<uint8_t> ns;                      // unset: both
};

inline bool IsSession(Credential c) {
  return c == Credential::kSession0 || c == Credential::kSession1;
}

inline bool Matches(Filter filter, const std::optional<Who>& who) {
  switch (filter) {
    case Filter::kLabelIsX:
      return who && who->label == Label::kX;
    case Filter::kLabelIsNotX:
      return !who || who->label != Label::kX;
    case Filter::kAccount0WithY:
      return who && who->account == 0 && who->label == Label::kY;
    case Filter::kSession1:
      return who && who->credential == Credential::kSession1;
    case Filter::kUnbound:
      return !who;
  }
  return false;
}

// What a close closes, and a fence refuses to bind.
inline bool Covers(const Target& target, uint8_t ns,
                   const std::optional<Who>& who) {
  if (target.ns && *target.ns != ns) return false;
  switch (target.kind) {
    case TargetKind::kSession:
    case TargetKind::kToken:
      return who && who->credential == target.credential;
    case TargetKind::kAccount:
      return who && who->account == target.account &&
             who->credential != target.keep;
    case TargetKind::kFilter:
      return Matches(target.filter, who);
  }
  return false;
}

// ---- for the trace ----------------------------------------------------------

inline std::string ToText(const std::optional<Who>& who) {
  if (!who) return "nobody";
  static constexpr const char* kNames[] = {"", "/s0", "/s1", "#t0"};
  static constexpr const char* kValues[] = {"", "[x]", "[y]"};
  return "a" + std::to_string(who->account) +
         kNames[static_cast<int>(who->credential)] +
         kValues[static_cast<int>(who->label)];
}

inline std::string ToText(const Target& t) {
  static constexpr const char* kNames[] = {"", "s0", "s1", "t0"};
  std::string text;
  switch (t.kind) {
    case TargetKind::kSession:
      text = std::string("session ") + kNames[static_cast<int>(t.credential)];
      break;
    case TargetKind::kToken:
      text = "token t0";
      break;
    case TargetKind::kAccount:
      text = "account a" + std::to_string(t.account);
      if (t.keep) {
        text += std::string(" keeping ") + kNames[static_cast<int>(*t.keep)];
      }
      break;
    case TargetKind::kFilter:
      text = std::string("filter ") + kFilterTexts[static_cast<int>(t.filter)];
      break;
  }
  return text + (t.ns ? " in n" + std::to_string(*t.ns) : " everywhere");
}

}  // namespace broker::races
