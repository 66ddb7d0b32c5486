#include "broker/app/config_rules.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "broker/app/config_check.h"
#include "broker/app/config_listeners.h"
#include "broker/app/ip_address.h"
#include "broker/core/quoted.h"
#include "broker/hub/settings.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::config::v1;

constexpr uint64_t kMaxOutboxBytes = 1 << 30;
constexpr uint64_t kLeastMemoryBytes = 64 << 20;
constexpr uint64_t kMaxMessagesPerSecond = 1'000'000;
constexpr uint64_t kMaxBytesPerSecond = 1 << 30;

bool AllOf(absl::string_view text, absl::string_view punctuation, bool upper) {
  for (const char c : text) {
    const bool letter = absl::ascii_islower(c) || absl::ascii_isdigit(c) ||
                        (upper && absl::ascii_isupper(c));
    if (!letter && !absl::StrContains(punctuation, c)) return false;
  }
  return true;
}

// Empty when a browser could send this as an Origin (RFC 6454 section 6.2);
// else what is wrong.
std::string WrongWithOrigin(absl::string_view origin) {
  constexpr char kForm[] =
      R"(is no origin; allowed are scheme://host, scheme://host:port and "*")";
  if (origin == "*") return "";
  if (origin == "null") {
    return "cannot be allowed: every sandboxed page has this origin";
  }
  const size_t colon = origin.find("://");
  if (colon == absl::string_view::npos || colon == 0) return kForm;
  const absl::string_view scheme = origin.substr(0, colon);
  absl::string_view host = origin.substr(colon + 3);
  if (absl::EndsWith(host, "/")) {
    return "ends with \"/\"; an origin has no path";
  }
  if (absl::AsciiStrToLower(origin) != origin) {
    return "has capital letters; browsers send an origin in small ones";
  }
  absl::string_view port;
  const size_t end_of_host = host.find_last_of(":]");
  if (end_of_host != absl::string_view::npos && host[end_of_host] == ':') {
    port = host.substr(end_of_host + 1);
    host = host.substr(0, end_of_host);
    uint32_t number = 0;
    if (!absl::SimpleAtoi(port, &number) || number == 0 || number > 65535 ||
        absl::StrCat(number) != port) {
      return "has no port from 1 to 65535 after the colon";
    }
  }
  if ((scheme == "https" && port == "443") ||
      (scheme == "http" && port == "80")) {
    return absl::StrCat("has the port ", port,
                        ", which browsers leave out for ", scheme);
  }
  if (absl::ConsumePrefix(&host, "[")) {
    const bool ok = absl::ConsumeSuffix(&host, "]") &&
                    absl::StrContains(host, ':') && IsIpAddress(host);
    return ok ? "" : kForm;
  }
  const bool ok = !host.empty() && AllOf(host, "-._~%", false) &&
                  absl::ascii_islower(scheme[0]) && AllOf(scheme, "+-.", false);
  return ok ? "" : kForm;
}

class Checker {
 public:
  Checker(const Config& config, uint64_t descriptor_limit, ConfigCheck& check)
      : config_(config), descriptor_limit_(descriptor_limit), check_(check) {}

  void Check() {
    CheckEndpoints();
    CheckLimits();
    check_.Range("shards", config_.shards(), 1, 256);
    check_.Range("drain.window", config_.drain().window(), absl::ZeroDuration(),
                 absl::Hours(1));
    CheckRetention();
  }

 private:
  void CheckWays(const std::string& at, const v1::Endpoint& e) {
    const auto has = [&](v1::Way way) {
      return std::find(e.ways().begin(), e.ways().end(), way) != e.ways().end();
    };
    if (!has(v1::WAY_CALLOUT)) return;
    if (!config_.has_callout()) {
      check_.Fault(at + "ways",
                   "CALLOUT has nobody to ask; say where the application is in "
                   "callout.target");
    }
    for (const v1::Way way : {v1::WAY_MANUAL, v1::WAY_ATTACH}) {
      if (!has(way)) continue;
      check_.Fault(
          at + "ways",
          absl::StrCat(ShortName(*v1::Way_descriptor()->FindValueByNumber(way)),
                       " is never used beside CALLOUT, which decides about "
                       "every handshake without a ticket; allowed is one of "
                       "them"));
    }
  }

  void CheckEndpoints() {
    if (config_.endpoints_size() > 64) {
      check_.Fault("endpoints",
                   absl::StrCat(config_.endpoints_size(),
                                " endpoints; allowed are 1 to 64"));
    }
    std::set<std::string> paths;
    for (int i = 0; i < config_.endpoints_size(); ++i) {
      const v1::Endpoint& e = config_.endpoints(i);
      const std::string at = absl::StrCat("endpoints[", i, "].");
      CheckPath(at + "path", e.path());
      if (!paths.insert(e.path()).second) {
        check_.Fault(at + "path", absl::StrCat(Quoted(e.path()),
                                               " is another endpoint's, too"));
      }
      CheckNamespace(at, e);
      CheckWays(at, e);
      for (int o = 0; o < e.allowed_origins_size(); ++o) {
        const std::string wrong = WrongWithOrigin(e.allowed_origins(o));
        if (wrong.empty()) continue;
        check_.Fault(absl::StrCat(at, "allowed_origins[", o, "]"),
                     absl::StrCat(Quoted(e.allowed_origins(o)), " ", wrong));
      }
      check_.Range(at + "max_message_bytes", e.max_message_bytes(), 1,
                   kMaxMessageBytes);
      if (e.max_message_bytes() <= kMaxMessageBytes) {
        check_.Range(at + "max_outbox_bytes", e.max_outbox_bytes(),
                     2 * e.max_message_bytes(), kMaxOutboxBytes);
      }
      check_.Range(at + "soft_outbox_bytes", e.soft_outbox_bytes(), 1,
                   e.max_outbox_bytes());
      check_.Range(at + "soft_outbox_time", e.soft_outbox_time(),
                   absl::Milliseconds(100), absl::Hours(1));
      check_.Range(at + "pending_timeout", e.pending_timeout(),
                   absl::Milliseconds(100), absl::Hours(1));
      check_.Range(at + "max_messages_per_second", e.max_messages_per_second(),
                   0, kMaxMessagesPerSecond);
      check_.Range(at + "max_bytes_per_second", e.max_bytes_per_second(), 0,
                   kMaxBytesPerSecond);
      check_.Range(at + "offer_timeout", e.offer_timeout(),
                   absl::Milliseconds(100), absl::Minutes(1));
      CheckConversation(at, e);
    }
  }

  void CheckConversation(const std::string& at, const v1::Endpoint& e) {
    check_.Range(at + "max_requests_in_flight", e.max_requests_in_flight(), 1,
                 10'000);
    check_.Range(at + "request_timeout", e.request_timeout(),
                 absl::Milliseconds(100), absl::Hours(1));
    if (e.cancel_method().size() > 256) {
      check_.Fault(at + "cancel_method",
                   absl::StrCat(e.cancel_method().size(),
                                " bytes; allowed are at most 256"));
    }
  }

  void CheckPath(const std::string& at, const std::string& path) {
    constexpr char kAllowed[] =
        "allowed is \"/\" and at most 255 of A-Z a-z 0-9 -._~!$&'()*+,;=:@/";
    if (path.empty()) {
      check_.Fault(at, absl::StrCat("is required; ", kAllowed));
    } else if (absl::StrContains(path, '?')) {
      check_.Fault(at, absl::StrCat(Quoted(path), " has a query; ", kAllowed));
    } else if (path[0] != '/' || path.size() > 256 ||
               !AllOf(path, "-._~!$&'()*+,;=:@/", true)) {
      check_.Fault(at, absl::StrCat(Quoted(path), " is no path; ", kAllowed));
    }
  }

  void CheckNamespace(const std::string& at, const v1::Endpoint& e) {
    const std::string& ns = e.namespace_();
    if (ns.empty() || ns.size() > 64 || !AllOf(ns, "_-", false)) {
      check_.Fault(
          at + "namespace",
          absl::StrCat(Quoted(ns), " is no name of a namespace; allowed are ",
                       "1 to 64 of a-z 0-9 _ -"));
    }
    const auto [first, fresh] = framings_.emplace(ns, e.framing());
    if (!fresh && first->second != e.framing()) {
      check_.Fault(
          at + "framing",
          absl::StrCat(
              ShortName(
                  *v1::Framing_descriptor()->FindValueByNumber(e.framing())),
              " is not the framing of the other endpoints of namespace ",
              Quoted(ns), ", which is ",
              ShortName(*v1::Framing_descriptor()->FindValueByNumber(
                  first->second))));
    }
  }

  void CheckLimits() {
    const v1::Limits& limits = config_.limits();
    if (descriptor_limit_ <= kReservedDescriptors) {
      check_.Fault("limits.max_connections",
                   absl::StrCat("this process may open ", descriptor_limit_,
                                " descriptors and needs ", kReservedDescriptors,
                                " for itself; raise the limit (ulimit -n)"));
    } else if (limits.max_connections() >
               descriptor_limit_ - kReservedDescriptors) {
      check_.Fault(
          "limits.max_connections",
          absl::StrCat(limits.max_connections(),
                       " is out of range; allowed are 1 to ",
                       descriptor_limit_ - kReservedDescriptors, ", ",
                       kReservedDescriptors,
                       " below what this process may open; raise the limit "
                       "(ulimit -n, LimitNOFILE)"));
    } else if (limits.max_connections() == 0) {
      check_.Fault("limits.max_connections",
                   absl::StrCat("0 is out of range; allowed are 1 to ",
                                descriptor_limit_ - kReservedDescriptors));
    }
    check_.Range("limits.max_header_bytes", limits.max_header_bytes(), 1024,
                 65536);
    check_.Range("limits.max_ticket_misses_per_minute",
                 limits.max_ticket_misses_per_minute(), 0, 60'000);
    if (limits.max_memory_bytes() != 0 &&
        limits.max_memory_bytes() < kLeastMemoryBytes) {
      check_.Fault(
          "limits.max_memory_bytes",
          absl::StrCat(limits.max_memory_bytes(),
                       " is out of range; allowed are 0, for no limit, and ",
                       kLeastMemoryBytes, " or more"));
    }
    check_.Range("limits.max_requests_in_flight",
                 limits.max_requests_in_flight(), 1, 10'000'000);
    check_.Range("limits.max_waiting_messages", limits.max_waiting_messages(),
                 1, 1'000'000);
    check_.Range("limits.max_waiting_bytes", limits.max_waiting_bytes(), 1,
                 1 << 30);
    check_.Range("limits.max_pings_per_second", limits.max_pings_per_second(),
                 0, 10'000);
    const absl::Duration least = absl::Milliseconds(100);
    check_.Range("limits.handshake_timeout", limits.handshake_timeout(), least,
                 absl::Minutes(1));
    check_.Range("limits.ping_interval", limits.ping_interval(), least,
                 absl::Hours(1));
    check_.Range("limits.message_timeout", limits.message_timeout(),
                 absl::Seconds(1), absl::Hours(1));
    check_.Range("limits.pong_timeout", limits.pong_timeout(), least,
                 absl::Minutes(5));
  }

  // A connection is bound as of its handshake, so a shorter memory would refuse
  // those that pend longest.
  void CheckRetention() {
    absl::Duration least = absl::Minutes(1);
    for (const v1::Endpoint& e : config_.endpoints()) {
      least = std::max(least, ToDuration(e.pending_timeout()));
    }
    check_.Range("revocations.retention", config_.revocations().retention(),
                 least, absl::Hours(8760));
  }

  const Config& config_;
  const uint64_t descriptor_limit_;
  ConfigCheck& check_;
  std::map<std::string, v1::Framing> framings_;  // by namespace
};

}  // namespace

void CheckConfig(const Config& config, uint64_t descriptor_limit,
                 Faults& faults) {
  ConfigCheck check(faults);
  CheckListeners(config, check);
  Checker(config, descriptor_limit, check).Check();
}

}  // namespace broker
