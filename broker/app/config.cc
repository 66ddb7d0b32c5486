#include "broker/app/config.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "broker/app/config_env.h"
#include "broker/app/config_file.h"
#include "broker/app/config_yaml.h"
#include "broker/app/ip_address.h"
#include "broker/core/status_macros.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::config::v1;

std::chrono::milliseconds ToMilliseconds(const google::protobuf::Duration& d) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::seconds(d.seconds()) + std::chrono::nanoseconds(d.nanos()));
}

EndpointSettings ToEndpoint(const v1::Endpoint& e) {
  const auto allows = [&](v1::Way way) {
    return std::find(e.ways().begin(), e.ways().end(), way) != e.ways().end();
  };
  EndpointSettings out;
  out.path = e.path();
  out.ns = e.namespace_();
  out.framing =
      e.framing() == v1::FRAMING_RAW ? Framing::kRaw : Framing::kJsonRpc;
  out.allow_ticket = allows(v1::WAY_TICKET);
  out.allow_pending = allows(v1::WAY_MANUAL);
  out.allow_callout = allows(v1::WAY_CALLOUT);
  out.allow_attach = allows(v1::WAY_ATTACH);
  out.allowed_origins.assign(e.allowed_origins().begin(),
                             e.allowed_origins().end());
  out.max_message_bytes = e.max_message_bytes();
  out.max_outbox_bytes = e.max_outbox_bytes();
  out.soft_outbox_bytes = e.soft_outbox_bytes();
  out.soft_outbox_time = ToMilliseconds(e.soft_outbox_time());
  out.pending_timeout = ToMilliseconds(e.pending_timeout());
  out.allow_missing_origin = e.allow_missing_origin();
  out.max_messages_per_second = e.max_messages_per_second();
  out.max_bytes_per_second = e.max_bytes_per_second();
  out.offer_timeout = ToMilliseconds(e.offer_timeout());
  out.max_requests_in_flight = e.max_requests_in_flight();
  out.request_timeout = ToMilliseconds(e.request_timeout());
  out.message_order = e.message_order() == v1::MESSAGE_ORDER_STRICT
                          ? MessageOrder::kStrict
                          : MessageOrder::kConcurrent;
  out.cancel_method = e.cancel_method();
  return out;
}

Limits ToLimits(const v1::Limits& limits) {
  Limits out;
  out.max_connections = limits.max_connections();
  out.max_connections_per_address = limits.max_connections_per_address();
  out.max_connections_per_account = limits.max_connections_per_account();
  out.max_pending_connections = limits.max_pending_connections();
  out.max_header_bytes = limits.max_header_bytes();
  out.handshake_timeout = ToMilliseconds(limits.handshake_timeout());
  out.ping_interval = ToMilliseconds(limits.ping_interval());
  out.pong_timeout = ToMilliseconds(limits.pong_timeout());
  out.max_pings_per_second = limits.max_pings_per_second();
  out.account_policy =
      limits.account_policy() == v1::ACCOUNT_POLICY_EVICT_OLDEST
          ? AccountPolicy::kEvictOldest
          : AccountPolicy::kRefuse;
  out.max_connections_per_namespace = limits.max_connections_per_namespace();
  out.max_ticket_misses_per_minute = limits.max_ticket_misses_per_minute();
  out.message_timeout = ToMilliseconds(limits.message_timeout());
  out.max_memory_bytes = limits.max_memory_bytes();
  out.max_requests_in_flight = limits.max_requests_in_flight();
  out.max_waiting_messages = limits.max_waiting_messages();
  out.max_waiting_bytes = limits.max_waiting_bytes();
  return out;
}

absl::Status AsStatus(const Faults& faults) {
  return faults.empty()
             ? absl::OkStatus()
             : absl::InvalidArgumentError(absl::StrJoin(faults, "\n"));
}

}  // namespace

absl::StatusOr<Config> LoadConfig(const ConfigSources& sources) {
  Config config;
  Faults faults;
  const std::string file =
      sources.file.empty() ? ConfigFileFrom(sources.environment) : sources.file;
  if (!file.empty()) ApplyFile(file, config, faults);
  for (const Assignment& a : FromEnvironment(sources.environment, faults)) {
    ApplyAssignment(a, config, faults);
  }
  for (const Assignment& a : sources.flags) ApplyAssignment(a, config, faults);
  // A value that was not understood would be reported as its default.
  BROKER_RETURN_IF_ERROR(AsStatus(faults));

  FillDefaults(sources.descriptor_limit, sources.memory_limit, config);
  CheckConfig(config, sources.descriptor_limit, faults);
  BROKER_RETURN_IF_ERROR(AsStatus(faults));
  return config;
}

std::string PrintConfig(const Config& config) { return WriteYaml(config); }

std::vector<std::string> KeysThatNeedRestart(const Config& running,
                                             const Config& loaded) {
  std::vector<std::string> keys;
  const auto compare = [&](const char* key, const auto& a, const auto& b) {
    if (a != b) keys.push_back(key);
  };
  compare("websocket.address", running.websocket().address(),
          loaded.websocket().address());
  compare("websocket.port", running.websocket().port(),
          loaded.websocket().port());
  compare("websocket.tls", running.websocket().has_tls(),
          loaded.websocket().has_tls());
  compare("control.address", running.control().address(),
          loaded.control().address());
  compare("control.port", running.control().port(), loaded.control().port());
  compare("control.tcp", running.control().tcp(), loaded.control().tcp());
  compare("control.unix_socket", running.control().unix_socket(),
          loaded.control().unix_socket());
  compare("control.tls", running.control().has_tls(),
          loaded.control().has_tls());
  compare("control.tls.client_ca_file",
          running.control().tls().has_client_ca_file(),
          loaded.control().tls().has_client_ca_file());
  compare("admin.address", running.admin().address(), loaded.admin().address());
  compare("admin.port", running.admin().port(), loaded.admin().port());
  compare("admin.enabled", running.admin().enabled(), loaded.admin().enabled());
  compare("shards", running.shards(), loaded.shards());
  compare("reflection", running.reflection(), loaded.reflection());
  compare("state_dir", running.state_dir(), loaded.state_dir());
  compare("callout", running.callout().SerializeAsString(),
          loaded.callout().SerializeAsString());
  return keys;
}

void KeepUntilRestart(const Config& running, Config& loaded) {
  v1::Websocket websocket = running.websocket();
  if (websocket.has_tls() && loaded.websocket().has_tls()) {
    *websocket.mutable_tls() = loaded.websocket().tls();
  }
  *websocket.mutable_trusted_proxies() = loaded.websocket().trusted_proxies();
  *loaded.mutable_websocket() = websocket;
  v1::Control control = running.control();
  // The files may be others; whether there is TLS, and of clients, stays.
  if (control.has_tls() && loaded.control().has_tls()) {
    const v1::ControlTls& tls = loaded.control().tls();
    control.mutable_tls()->set_certificate_file(tls.certificate_file());
    control.mutable_tls()->set_private_key_file(tls.private_key_file());
    if (control.tls().has_client_ca_file() && tls.has_client_ca_file()) {
      control.mutable_tls()->set_client_ca_file(tls.client_ca_file());
    }
  }
  *control.mutable_callers() = loaded.control().callers();
  *loaded.mutable_control() = control;
  *loaded.mutable_admin() = running.admin();
  loaded.set_shards(running.shards());
  loaded.set_reflection(running.reflection());
  loaded.set_state_dir(running.state_dir());
  loaded.clear_callout();
  if (running.has_callout()) *loaded.mutable_callout() = running.callout();
}

SettingsPtr ToSettings(const Config& config) {
  auto settings = std::make_shared<Settings>();
  for (const v1::Endpoint& e : config.endpoints()) {
    settings->endpoints.push_back(ToEndpoint(e));
  }
  settings->limits = ToLimits(config.limits());
  settings->revocation_retention =
      absl::FromChrono(ToMilliseconds(config.revocations().retention()));
  settings->loopback_listener = IsLoopback(config.websocket().address());
  for (const std::string& proxy : config.websocket().trusted_proxies()) {
    settings->trusted_proxies.push_back(*IpNetwork::Parse(proxy));
  }
  return settings;
}

absl::StatusOr<TlsContextPtr> LoadTls(const Config& config) {
  if (!config.websocket().has_tls()) return nullptr;
  const v1::Tls& tls = config.websocket().tls();
  absl::StatusOr<TlsContextPtr> context =
      TlsContext::Load({tls.certificate_file(), tls.private_key_file(),
                        tls.min_version() == v1::TLS_VERSION_TLS1_3});
  if (context.ok()) return context;
  return absl::InvalidArgumentError(
      absl::StrCat("websocket.tls.", context.status().message()));
}

absl::StatusOr<ControlCertificatesPtr> LoadControlTls(const Config& config) {
  if (!config.control().has_tls()) return nullptr;
  const v1::ControlTls& tls = config.control().tls();
  auto certificates = ControlCertificates::Load(
      tls.certificate_file(), tls.private_key_file(), tls.client_ca_file());
  if (certificates.ok()) return certificates;
  return absl::InvalidArgumentError(
      absl::StrCat("control.tls.", certificates.status().message()));
}

absl::Status CheckReload(const Config& running, const Config& loaded,
                         uint64_t descriptor_limit) {
  Faults faults;
  // A listener that stays may want what the new configuration leaves out.
  CheckConfig(loaded, descriptor_limit, faults);
  if (!running.control().callers().empty() &&
      loaded.control().callers().empty()) {
    faults.push_back(
        "control.callers: the last would go, and then everybody could do "
        "everything; keep one with enabled: false, or restart");
  }
  return AsStatus(faults);
}

absl::StatusOr<std::unique_ptr<GrpcCallout>> LoadCallout(const Config& config) {
  if (!config.has_callout()) return nullptr;
  const v1::Callout& callout = config.callout();
  CalloutOptions options;
  options.target = callout.target();
  options.deadline = ToMilliseconds(callout.deadline());
  options.max_concurrent = callout.max_concurrent();
  options.breaker_failures = callout.breaker_failures();
  options.breaker_pause = ToMilliseconds(callout.breaker_pause());
  options.tls = callout.has_tls();
  options.ca_file = callout.tls().ca_file();
  options.certificate_file = callout.tls().certificate_file();
  options.private_key_file = callout.tls().private_key_file();
  options.server_name = callout.tls().server_name();
  options.key_file = callout.key_file();
  auto made = GrpcCallout::Make(options);
  if (made.ok()) return made;
  return absl::InvalidArgumentError(
      absl::StrCat("callout.", made.status().message()));
}

bool WantsReflection(const Config& config) {
  return config.reflection() == v1::REFLECTION_ON ||
         (config.reflection() == v1::REFLECTION_AUTO &&
          (!config.control().tcp() || IsLoopback(config.control().address())));
}

absl::Duration DrainWindow(const Config& config) {
  return absl::Seconds(config.drain().window().seconds()) +
         absl::Nanoseconds(config.drain().window().nanos());
}

LogLevel ToLogLevel(const Config& config) {
  switch (config.log().level()) {
    case v1::LOG_LEVEL_DEBUG:
      return LogLevel::kDebug;
    case v1::LOG_LEVEL_WARNING:
      return LogLevel::kWarning;
    case v1::LOG_LEVEL_ERROR:
      return LogLevel::kError;
    default:
      return LogLevel::kInfo;
  }
}

LogFormat ToLogFormat(const Config& config) {
  switch (config.log().format()) {
    case v1::LOG_FORMAT_JSON:
      return LogFormat::kJson;
    case v1::LOG_FORMAT_TEXT:
      return LogFormat::kText;
    default:
      return LogFormat::kAuto;
  }
}

}  // namespace broker
