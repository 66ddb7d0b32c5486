#include "broker/app/config_rules.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "broker/app/config_callers.h"
#include "broker/app/ip_address.h"
#include "broker/core/ip_network.h"
#include "broker/core/quoted.h"
#include "broker/hub/settings.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::config::v1;

constexpr uint64_t kMaxOutboxBytes = 1 << 30;
constexpr uint64_t kLeastMemoryBytes = 64 << 20;
constexpr uint64_t kMaxMessagesPerSecond = 1'000'000;
constexpr uint64_t kMaxBytesPerSecond = 1 << 30;
constexpr int kMaxProxies = 64;

bool AllOf(absl::string_view text, absl::string_view punctuation, bool upper) {
  for (const char c : text) {
    const bool letter = absl::ascii_islower(c) || absl::ascii_isdigit(c) ||
                        (upper && absl::ascii_isupper(c));
    if (!letter && !absl::StrContains(punctuation, c)) return false;
  }
  return true;
}

absl::Duration ToDuration(const google::protobuf::Duration& d) {
  return absl::Seconds(d.seconds()) + absl::Nanoseconds(d.nanos());
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

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) +
         absl::Nanoseconds(duration.nanos());
}

// Whether what gRPC takes as a target cannot leave this machine.
bool IsLocalTarget(absl::string_view target) {
  if (absl::StartsWith(target, "unix:") ||
      absl::StartsWith(target, "unix-abstract:")) {
    return true;
  }
  for (const char* scheme : {"dns:///", "dns:", "ipv4:", "ipv6:"}) {
    if (absl::ConsumePrefix(&target, scheme)) break;
  }
  const size_t colon = target.find_last_of(":]");
  if (colon != absl::string_view::npos && target[colon] == ':') {
    target = target.substr(0, colon);
  }
  if (absl::ConsumePrefix(&target, "[")) absl::ConsumeSuffix(&target, "]");
  return target == "localhost" || IsLoopback(target);
}

class Checker {
 public:
  Checker(const Config& config, uint64_t descriptor_limit, Faults& faults)
      : config_(config), descriptor_limit_(descriptor_limit), faults_(faults) {}

  void Check() {
    CheckListeners();
    CheckEndpoints();
    CheckLimits();
    CheckCallout();
    Range("shards", config_.shards(), 1, 256);
    Range("drain.window", config_.drain().window(), absl::ZeroDuration(),
          absl::Hours(1));
    CheckRetention();
  }

 private:
  void Fault(const std::string& path, absl::string_view what) {
    faults_.push_back(absl::StrCat(path, ": ", what));
  }

  void Range(const std::string& path, uint64_t value, uint64_t least,
             uint64_t most) {
    if (value >= least && value <= most) return;
    Fault(path, absl::StrCat(value, " is out of range; allowed are ", least,
                             " to ", most));
  }

  void Range(const std::string& path, const google::protobuf::Duration& value,
             absl::Duration least, absl::Duration most) {
    const absl::Duration duration = ToDuration(value);
    if (duration >= least && duration <= most) return;
    Fault(path, absl::StrCat(absl::FormatDuration(duration),
                             " is out of range; allowed are ",
                             absl::FormatDuration(least), " to ",
                             absl::FormatDuration(most)));
  }

  template <typename Listener>
  void CheckListener(const std::string& path, const Listener& listener,
                     bool must_be_loopback) {
    Range(path + ".port", listener.port(), 0, 65535);
    const std::string& address = listener.address();
    if (!IsIpAddress(address)) {
      Fault(path + ".address",
            absl::StrCat(Quoted(address),
                         " is no IP address; allowed is one such as 127.0.0.1, "
                         "::1",
                         must_be_loopback ? "" : " or 0.0.0.0"));
    } else if (must_be_loopback && !IsLoopback(address)) {
      Fault(path + ".address",
            absl::StrCat(Quoted(address),
                         " is not on loopback, and this listener has neither "
                         "TLS nor keys; allowed are 127.0.0.0/8 and ::1: put a "
                         "proxy before it that has them"));
    }
    if (listener.port() == 0) return;
    const std::string key = absl::StrCat(address, " ", listener.port());
    const auto [other, fresh] = listeners_.emplace(key, path);
    if (!fresh) {
      Fault(path + ".port",
            absl::StrCat(listener.port(), " is the port of ", other->second,
                         ", too; each listener needs its own, or 0"));
    }
  }

  template <typename Tls>
  void CheckTls(const std::string& path, const Tls& tls) {
    for (const auto& [key, file] :
         {std::pair{".certificate_file", tls.certificate_file()},
          std::pair{".private_key_file", tls.private_key_file()}}) {
      if (file.empty())
        Fault(path + key, "is required: the path of a PEM file");
    }
  }

  void CheckProxies() {
    const auto& proxies = config_.websocket().trusted_proxies();
    if (proxies.size() > kMaxProxies) {
      Fault("websocket.trusted_proxies",
            absl::StrCat(proxies.size(), " proxies; allowed are at most ",
                         kMaxProxies));
    }
    for (int i = 0; i < proxies.size(); ++i) {
      if (IpNetwork::Parse(proxies[i])) continue;
      Fault(absl::StrCat("websocket.trusted_proxies[", i, "]"),
            absl::StrCat(Quoted(proxies[i]),
                         " is no IP address and no network; allowed is one "
                         "such as 192.0.2.1, 10.0.0.0/8 or fd00::/8, without "
                         "bits behind the prefix"));
    }
  }

  void CheckListeners() {
    CheckListener("websocket", config_.websocket(), false);
    CheckProxies();
    if (config_.websocket().has_tls()) {
      CheckTls("websocket.tls", config_.websocket().tls());
    }
    CheckControl();
    if (config_.admin().enabled()) {
      CheckListener("admin", config_.admin(), true);
    }
  }

  void CheckControl() {
    constexpr size_t kMaxSocketPath = 100;  // sun_path has 108 bytes
    const v1::Control& control = config_.control();
    const bool remote =
        IsIpAddress(control.address()) && !IsLoopback(control.address());
    if (control.tcp()) {
      CheckListener("control", control, false);
    } else if (control.unix_socket().empty()) {
      Fault("control.tcp", "false leaves no listener; set control.unix_socket");
    }
    if (control.has_unix_socket() &&
        (control.unix_socket().empty() ||
         control.unix_socket().size() > kMaxSocketPath)) {
      Fault("control.unix_socket", absl::StrCat(Quoted(control.unix_socket()),
                                                ": allowed is a path of 1 to ",
                                                kMaxSocketPath, " bytes"));
    }
    if (control.has_tls()) {
      CheckTls("control.tls", control.tls());
      if (control.tls().has_client_ca_file() &&
          control.tls().client_ca_file().empty()) {
        Fault(
            "control.tls.client_ca_file",
            "is empty; allowed is the path of a PEM file, or to leave it out");
      }
    }
    CheckCallers(control, faults_);
    if (!control.tcp() || !remote) return;
    const char* const missing =
        !control.has_tls() ? "control.tls"
        : !control.tls().has_client_ca_file() && control.callers().empty()
            ? "control.callers (API keys) or control.tls.client_ca_file (mTLS)"
            : nullptr;
    if (missing == nullptr) return;
    Fault("control.address",
          absl::StrCat(Quoted(control.address()),
                       " is not on loopback, and whoever reaches this listener "
                       "could do everything; set ",
                       missing,
                       ", or listen on 127.0.0.0/8, on ::1 or on "
                       "control.unix_socket"));
  }

  void CheckCallout() {
    if (!config_.has_callout()) return;
    const v1::Callout& callout = config_.callout();
    if (callout.target().empty()) {
      Fault("callout.target",
            "is required: where the application is, such as 127.0.0.1:50061");
    } else if (!callout.has_tls() && !IsLocalTarget(callout.target())) {
      Fault(
          "callout.target",
          absl::StrCat(Quoted(callout.target()),
                       " is not on loopback, and handshakes hold the secrets "
                       "of clients; allowed are loopback addresses, localhost "
                       "and unix:, or any with callout.tls"));
    }
    Range("callout.deadline", callout.deadline(), absl::Milliseconds(10),
          absl::Minutes(1));
    const absl::Duration handshake =
        ToDuration(config_.limits().handshake_timeout());
    if (ToDuration(callout.deadline()) >= handshake) {
      Fault(
          "callout.deadline",
          absl::StrCat(absl::FormatDuration(ToDuration(callout.deadline())),
                       " is not less than limits.handshake_timeout, which is ",
                       absl::FormatDuration(handshake)));
    }
    Range("callout.max_concurrent", callout.max_concurrent(), 1, 100'000);
    Range("callout.breaker_failures", callout.breaker_failures(), 0, 1'000'000);
    Range("callout.breaker_pause", callout.breaker_pause(),
          absl::Milliseconds(10), absl::Hours(1));
    const v1::CalloutTls& tls = callout.tls();
    if (tls.certificate_file().empty() != tls.private_key_file().empty()) {
      Fault(tls.certificate_file().empty() ? "callout.tls.certificate_file"
                                           : "callout.tls.private_key_file",
            "is required with the other of the two: the path of a PEM file");
    }
  }

  void CheckWays(const std::string& at, const v1::Endpoint& e) {
    const auto has = [&](v1::Way way) {
      return std::find(e.ways().begin(), e.ways().end(), way) != e.ways().end();
    };
    if (!has(v1::WAY_CALLOUT)) return;
    if (!config_.has_callout()) {
      Fault(at + "ways",
            "CALLOUT has nobody to ask; say where the application is in "
            "callout.target");
    }
    for (const v1::Way way : {v1::WAY_MANUAL, v1::WAY_ATTACH}) {
      if (!has(way)) continue;
      Fault(
          at + "ways",
          absl::StrCat(ShortName(*v1::Way_descriptor()->FindValueByNumber(way)),
                       " is never used beside CALLOUT, which decides about "
                       "every handshake without a ticket; allowed is one of "
                       "them"));
    }
  }

  void CheckEndpoints() {
    if (config_.endpoints_size() > 64) {
      Fault("endpoints", absl::StrCat(config_.endpoints_size(),
                                      " endpoints; allowed are 1 to 64"));
    }
    std::set<std::string> paths;
    for (int i = 0; i < config_.endpoints_size(); ++i) {
      const v1::Endpoint& e = config_.endpoints(i);
      const std::string at = absl::StrCat("endpoints[", i, "].");
      CheckPath(at + "path", e.path());
      if (!paths.insert(e.path()).second) {
        Fault(at + "path",
              absl::StrCat(Quoted(e.path()), " is another endpoint's, too"));
      }
      CheckNamespace(at, e);
      CheckWays(at, e);
      for (int o = 0; o < e.allowed_origins_size(); ++o) {
        const std::string wrong = WrongWithOrigin(e.allowed_origins(o));
        if (wrong.empty()) continue;
        Fault(absl::StrCat(at, "allowed_origins[", o, "]"),
              absl::StrCat(Quoted(e.allowed_origins(o)), " ", wrong));
      }
      Range(at + "max_message_bytes", e.max_message_bytes(), 1,
            kMaxMessageBytes);
      if (e.max_message_bytes() <= kMaxMessageBytes) {
        Range(at + "max_outbox_bytes", e.max_outbox_bytes(),
              2 * e.max_message_bytes(), kMaxOutboxBytes);
      }
      Range(at + "soft_outbox_bytes", e.soft_outbox_bytes(), 1,
            e.max_outbox_bytes());
      Range(at + "soft_outbox_time", e.soft_outbox_time(),
            absl::Milliseconds(100), absl::Hours(1));
      Range(at + "pending_timeout", e.pending_timeout(),
            absl::Milliseconds(100), absl::Hours(1));
      Range(at + "max_messages_per_second", e.max_messages_per_second(), 0,
            kMaxMessagesPerSecond);
      Range(at + "max_bytes_per_second", e.max_bytes_per_second(), 0,
            kMaxBytesPerSecond);
      Range(at + "offer_timeout", e.offer_timeout(), absl::Milliseconds(100),
            absl::Minutes(1));
    }
  }

  void CheckPath(const std::string& at, const std::string& path) {
    constexpr char kAllowed[] =
        "allowed is \"/\" and at most 255 of A-Z a-z 0-9 -._~!$&'()*+,;=:@/";
    if (path.empty()) {
      Fault(at, absl::StrCat("is required; ", kAllowed));
    } else if (absl::StrContains(path, '?')) {
      Fault(at, absl::StrCat(Quoted(path), " has a query; ", kAllowed));
    } else if (path[0] != '/' || path.size() > 256 ||
               !AllOf(path, "-._~!$&'()*+,;=:@/", true)) {
      Fault(at, absl::StrCat(Quoted(path), " is no path; ", kAllowed));
    }
  }

  void CheckNamespace(const std::string& at, const v1::Endpoint& e) {
    const std::string& ns = e.namespace_();
    if (ns.empty() || ns.size() > 64 || !AllOf(ns, "_-", false)) {
      Fault(at + "namespace",
            absl::StrCat(Quoted(ns), " is no name of a namespace; allowed are ",
                         "1 to 64 of a-z 0-9 _ -"));
    }
    const auto [first, fresh] = framings_.emplace(ns, e.framing());
    if (!fresh && first->second != e.framing()) {
      Fault(at + "framing",
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
      Fault("limits.max_connections",
            absl::StrCat("this process may open ", descriptor_limit_,
                         " descriptors and needs ", kReservedDescriptors,
                         " for itself; raise the limit (ulimit -n)"));
    } else if (limits.max_connections() >
               descriptor_limit_ - kReservedDescriptors) {
      Fault("limits.max_connections",
            absl::StrCat(limits.max_connections(),
                         " is out of range; allowed are 1 to ",
                         descriptor_limit_ - kReservedDescriptors, ", ",
                         kReservedDescriptors,
                         " below what this process may open; raise the limit "
                         "(ulimit -n, LimitNOFILE)"));
    } else if (limits.max_connections() == 0) {
      Fault("limits.max_connections",
            absl::StrCat("0 is out of range; allowed are 1 to ",
                         descriptor_limit_ - kReservedDescriptors));
    }
    Range("limits.max_header_bytes", limits.max_header_bytes(), 1024, 65536);
    Range("limits.max_ticket_misses_per_minute",
          limits.max_ticket_misses_per_minute(), 0, 60'000);
    if (limits.max_memory_bytes() != 0 &&
        limits.max_memory_bytes() < kLeastMemoryBytes) {
      Fault("limits.max_memory_bytes",
            absl::StrCat(limits.max_memory_bytes(),
                         " is out of range; allowed are 0, for no limit, and ",
                         kLeastMemoryBytes, " or more"));
    }
    Range("limits.max_pings_per_second", limits.max_pings_per_second(), 0,
          10'000);
    const absl::Duration least = absl::Milliseconds(100);
    Range("limits.handshake_timeout", limits.handshake_timeout(), least,
          absl::Minutes(1));
    Range("limits.ping_interval", limits.ping_interval(), least,
          absl::Hours(1));
    Range("limits.message_timeout", limits.message_timeout(), absl::Seconds(1),
          absl::Hours(1));
    Range("limits.pong_timeout", limits.pong_timeout(), least,
          absl::Minutes(5));
  }

  // A connection is bound as of its handshake, so a shorter memory would refuse
  // those that pend longest.
  void CheckRetention() {
    absl::Duration least = absl::Minutes(1);
    for (const v1::Endpoint& e : config_.endpoints()) {
      least = std::max(least, ToDuration(e.pending_timeout()));
    }
    Range("revocations.retention", config_.revocations().retention(), least,
          absl::Hours(8760));
  }

  const Config& config_;
  const uint64_t descriptor_limit_;
  Faults& faults_;
  std::map<std::string, std::string> listeners_;  // address and port: path
  std::map<std::string, v1::Framing> framings_;   // by namespace
};

}  // namespace

void CheckConfig(const Config& config, uint64_t descriptor_limit,
                 Faults& faults) {
  Checker(config, descriptor_limit, faults).Check();
}

}  // namespace broker
