#include "broker/app/config_listeners.h"

#include <map>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "broker/app/config_callers.h"
#include "broker/app/ip_address.h"
#include "broker/core/ip_network.h"
#include "broker/core/quoted.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::config::v1;

constexpr int kMaxProxies = 64;

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

class ListenerChecker {
 public:
  ListenerChecker(const v1::Config& config, ConfigCheck& check)
      : config_(config), check_(check) {}

  void Check() {
    CheckListener("websocket", config_.websocket(), false);
    CheckProxies();
    if (config_.websocket().has_tls()) {
      CheckTls("websocket.tls", config_.websocket().tls());
    }
    CheckControl();
    if (config_.admin().enabled()) {
      CheckListener("admin", config_.admin(), true);
    }
    CheckCallout();
  }

 private:
  template <typename Listener>
  void CheckListener(const std::string& path, const Listener& listener,
                     bool must_be_loopback) {
    check_.Range(path + ".port", listener.port(), 0, 65535);
    const std::string& address = listener.address();
    if (!IsIpAddress(address)) {
      check_.Fault(
          path + ".address",
          absl::StrCat(Quoted(address),
                       " is no IP address; allowed is one such as 127.0.0.1, "
                       "::1",
                       must_be_loopback ? "" : " or 0.0.0.0"));
    } else if (must_be_loopback && !IsLoopback(address)) {
      check_.Fault(
          path + ".address",
          absl::StrCat(Quoted(address),
                       " is not on loopback, and this listener has neither "
                       "TLS nor keys; allowed are 127.0.0.0/8 and ::1: put a "
                       "proxy before it that has them"));
    }
    if (listener.port() == 0) return;
    const std::string key = absl::StrCat(address, " ", listener.port());
    const auto [other, fresh] = listeners_.emplace(key, path);
    if (!fresh) {
      check_.Fault(
          path + ".port",
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
        check_.Fault(path + key, "is required: the path of a PEM file");
    }
  }

  void CheckProxies() {
    const auto& proxies = config_.websocket().trusted_proxies();
    if (proxies.size() > kMaxProxies) {
      check_.Fault("websocket.trusted_proxies",
                   absl::StrCat(proxies.size(),
                                " proxies; allowed are at most ", kMaxProxies));
    }
    for (int i = 0; i < proxies.size(); ++i) {
      if (IpNetwork::Parse(proxies[i])) continue;
      check_.Fault(
          absl::StrCat("websocket.trusted_proxies[", i, "]"),
          absl::StrCat(Quoted(proxies[i]),
                       " is no IP address and no network; allowed is one "
                       "such as 192.0.2.1, 10.0.0.0/8 or fd00::/8, without "
                       "bits behind the prefix"));
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
      check_.Fault("control.tcp",
                   "false leaves no listener; set control.unix_socket");
    }
    if (control.has_unix_socket() &&
        (control.unix_socket().empty() ||
         control.unix_socket().size() > kMaxSocketPath)) {
      check_.Fault("control.unix_socket",
                   absl::StrCat(Quoted(control.unix_socket()),
                                ": allowed is a path of 1 to ", kMaxSocketPath,
                                " bytes"));
    }
    if (control.has_tls()) {
      CheckTls("control.tls", control.tls());
      if (control.tls().has_client_ca_file() &&
          control.tls().client_ca_file().empty()) {
        check_.Fault(
            "control.tls.client_ca_file",
            "is empty; allowed is the path of a PEM file, or to leave it out");
      }
    }
    CheckCallers(control, check_.faults());
    if (!control.tcp() || !remote) return;
    const char* const missing =
        !control.has_tls() ? "control.tls"
        : !control.tls().has_client_ca_file() && control.callers().empty()
            ? "control.callers (API keys) or control.tls.client_ca_file (mTLS)"
            : nullptr;
    if (missing == nullptr) return;
    check_.Fault(
        "control.address",
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
      check_.Fault(
          "callout.target",
          "is required: where the application is, such as 127.0.0.1:50061");
    } else if (!callout.has_tls() && !IsLocalTarget(callout.target())) {
      check_.Fault(
          "callout.target",
          absl::StrCat(Quoted(callout.target()),
                       " is not on loopback, and handshakes hold the secrets "
                       "of clients; allowed are loopback addresses, localhost "
                       "and unix:, or any with callout.tls"));
    }
    check_.Range("callout.deadline", callout.deadline(), absl::Milliseconds(10),
                 absl::Minutes(1));
    const absl::Duration handshake =
        ToDuration(config_.limits().handshake_timeout());
    if (ToDuration(callout.deadline()) >= handshake) {
      check_.Fault(
          "callout.deadline",
          absl::StrCat(absl::FormatDuration(ToDuration(callout.deadline())),
                       " is not less than limits.handshake_timeout, which is ",
                       absl::FormatDuration(handshake)));
    }
    check_.Range("callout.max_concurrent", callout.max_concurrent(), 1,
                 100'000);
    check_.Range("callout.breaker_failures", callout.breaker_failures(), 0,
                 1'000'000);
    check_.Range("callout.breaker_pause", callout.breaker_pause(),
                 absl::Milliseconds(10), absl::Hours(1));
    const v1::CalloutTls& tls = callout.tls();
    if (tls.certificate_file().empty() != tls.private_key_file().empty()) {
      check_.Fault(
          tls.certificate_file().empty() ? "callout.tls.certificate_file"
                                         : "callout.tls.private_key_file",
          "is required with the other of the two: the path of a PEM file");
    }
  }

  const v1::Config& config_;
  ConfigCheck& check_;
  std::map<std::string, std::string> listeners_;  // address and port: path
};

}  // namespace

void CheckListeners(const v1::Config& config, ConfigCheck& check) {
  ListenerChecker(config, check).Check();
}

}  // namespace broker
