// FillDefaults, of config_rules.h.

#include <algorithm>
#include <thread>

#include "broker/app/config_rules.h"

namespace broker {
namespace {

namespace v1 = ::socketbroker::config::v1;
using google::protobuf::Duration;

constexpr uint64_t kMostConnectionsByDefault = 1'000'000;
constexpr uint64_t kDefaultMessageBytes = 1 << 20;
constexpr uint64_t kDefaultOutboxBytes = 4 << 20;

Duration Seconds(int64_t seconds) {
  Duration duration;
  duration.set_seconds(seconds);
  return duration;
}

template <typename Listener>
void FillListener(uint32_t port, Listener& listener) {
  if (!listener.has_address()) listener.set_address("127.0.0.1");
  if (!listener.has_port()) listener.set_port(port);
}

void FillEndpoint(v1::Endpoint& e) {
  if (!e.has_namespace_()) e.set_namespace_("default");
  if (!e.has_framing()) e.set_framing(v1::FRAMING_JSONRPC);
  if (e.ways().empty()) e.add_ways(v1::WAY_TICKET);
  if (!e.has_max_message_bytes()) e.set_max_message_bytes(kDefaultMessageBytes);
  if (!e.has_max_outbox_bytes()) {
    // Not for a size that is refused anyway: it could wrap.
    const uint64_t size = std::min<uint64_t>(e.max_message_bytes(), 1 << 30);
    e.set_max_outbox_bytes(std::max(kDefaultOutboxBytes, 2 * size));
  }
  if (!e.has_soft_outbox_bytes()) {
    e.set_soft_outbox_bytes(std::max<uint64_t>(1, e.max_outbox_bytes() / 4));
  }
  if (!e.has_soft_outbox_time()) *e.mutable_soft_outbox_time() = Seconds(10);
  if (!e.has_pending_timeout()) *e.mutable_pending_timeout() = Seconds(10);
  if (!e.has_allow_missing_origin()) {
    const auto& origins = e.allowed_origins();
    e.set_allow_missing_origin(origins.empty() ||
                               std::find(origins.begin(), origins.end(), "*") !=
                                   origins.end());
  }
  if (!e.has_max_messages_per_second()) e.set_max_messages_per_second(0);
  if (!e.has_max_bytes_per_second()) e.set_max_bytes_per_second(0);
  if (!e.has_offer_timeout()) *e.mutable_offer_timeout() = Seconds(5);
  if (!e.has_max_requests_in_flight()) e.set_max_requests_in_flight(64);
  if (!e.has_request_timeout()) *e.mutable_request_timeout() = Seconds(60);
  if (!e.has_message_order()) {
    e.set_message_order(v1::MESSAGE_ORDER_CONCURRENT);
  }
  if (!e.has_cancel_method()) e.set_cancel_method("cancel");
}

void FillLimits(uint64_t descriptor_limit, uint64_t memory_limit,
                v1::Limits& limits) {
  if (!limits.has_max_connections()) {
    const uint64_t room = descriptor_limit > kReservedDescriptors
                              ? descriptor_limit - kReservedDescriptors
                              : 0;
    limits.set_max_connections(std::min(room, kMostConnectionsByDefault));
  }
  if (!limits.has_max_connections_per_address()) {
    limits.set_max_connections_per_address(0);
  }
  if (!limits.has_max_connections_per_account()) {
    limits.set_max_connections_per_account(0);
  }
  if (!limits.has_max_pending_connections()) {
    limits.set_max_pending_connections(1'000);
  }
  if (!limits.has_max_header_bytes()) limits.set_max_header_bytes(16'000);
  if (!limits.has_handshake_timeout()) {
    *limits.mutable_handshake_timeout() = Seconds(5);
  }
  if (!limits.has_ping_interval()) {
    *limits.mutable_ping_interval() = Seconds(25);
  }
  if (!limits.has_pong_timeout()) *limits.mutable_pong_timeout() = Seconds(10);
  if (!limits.has_max_pings_per_second()) limits.set_max_pings_per_second(10);
  if (!limits.has_account_policy()) {
    limits.set_account_policy(v1::ACCOUNT_POLICY_REFUSE);
  }
  if (!limits.has_max_connections_per_namespace()) {
    limits.set_max_connections_per_namespace(0);
  }
  if (!limits.has_max_ticket_misses_per_minute()) {
    limits.set_max_ticket_misses_per_minute(600);
  }
  if (!limits.has_message_timeout()) {
    *limits.mutable_message_timeout() = Seconds(50);
  }
  if (!limits.has_max_memory_bytes()) limits.set_max_memory_bytes(memory_limit);
  if (!limits.has_max_requests_in_flight()) {
    limits.set_max_requests_in_flight(100'000);
  }
  if (!limits.has_max_waiting_messages()) {
    limits.set_max_waiting_messages(1'000);
  }
  if (!limits.has_max_waiting_bytes()) {
    limits.set_max_waiting_bytes(16 << 20);
  }
}

// Of a complete `limits`.
void FillCallout(const v1::Limits& limits, v1::Callout& callout) {
  if (!callout.has_deadline()) {
    const Duration& all = limits.handshake_timeout();
    const int64_t nanos = std::min<int64_t>(
        3'000'000'000,
        (std::min<int64_t>(all.seconds(), 60) * 1'000'000'000 + all.nanos()) /
            5 * 3);
    callout.mutable_deadline()->set_seconds(nanos / 1'000'000'000);
    callout.mutable_deadline()->set_nanos(
        static_cast<int32_t>(nanos % 1'000'000'000));
  }
  if (!callout.has_max_concurrent()) callout.set_max_concurrent(256);
  if (!callout.has_breaker_failures()) callout.set_breaker_failures(10);
  if (!callout.has_breaker_pause())
    *callout.mutable_breaker_pause() = Seconds(5);
}

}  // namespace

void FillDefaults(uint64_t descriptor_limit, uint64_t memory_limit,
                  Config& config) {
  FillListener(8080, *config.mutable_websocket());
  if (config.websocket().has_tls() &&
      !config.websocket().tls().has_min_version()) {
    config.mutable_websocket()->mutable_tls()->set_min_version(
        v1::TLS_VERSION_TLS1_2);
  }
  FillListener(50051, *config.mutable_control());
  if (!config.control().has_tcp()) config.mutable_control()->set_tcp(true);
  for (v1::Caller& caller : *config.mutable_control()->mutable_callers()) {
    if (!caller.has_enabled()) caller.set_enabled(true);
  }
  FillListener(8081, *config.mutable_admin());
  if (!config.admin().has_enabled()) config.mutable_admin()->set_enabled(true);
  if (config.endpoints().empty()) {
    // Open to be tried out: who configures an endpoint must ask for MANUAL.
    v1::Endpoint& endpoint = *config.add_endpoints();
    endpoint.set_path("/ws");
    endpoint.add_ways(v1::WAY_TICKET);
    endpoint.add_ways(v1::WAY_MANUAL);
  }
  for (v1::Endpoint& e : *config.mutable_endpoints()) FillEndpoint(e);
  FillLimits(descriptor_limit, memory_limit, *config.mutable_limits());
  if (config.has_callout()) {
    FillCallout(config.limits(), *config.mutable_callout());
  }
  if (config.shards() == 0) {
    config.set_shards(
        std::clamp<uint32_t>(std::thread::hardware_concurrency(), 1, 256));
  }
  if (!config.drain().has_window()) {
    *config.mutable_drain()->mutable_window() = Seconds(10);
  }
  if (!config.revocations().has_retention()) {
    *config.mutable_revocations()->mutable_retention() = Seconds(24 * 60 * 60);
  }
  if (!config.has_state_dir()) config.set_state_dir("");
  v1::Log& log = *config.mutable_log();
  if (!log.has_level()) log.set_level(v1::LOG_LEVEL_INFO);
  if (!log.has_format()) log.set_format(v1::LOG_FORMAT_AUTO);
  if (!log.has_audit()) log.set_audit(v1::AUDIT_LEVEL_CHANGES);
  if (!config.has_reflection()) config.set_reflection(v1::REFLECTION_AUTO);
}

}  // namespace broker
