#include "broker/admin/metrics.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace broker {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;
using Shards = std::vector<const ShardStats*>;

class Families {
 public:
  // Begins a family; what is added belongs to the last one.
  Families& Begin(const char* name, MetricType type, const char* help) {
    families_.push_back({absl::StrCat("socketbroker_", name), help, type, {}});
    return *this;
  }
  Families& Counter(const char* name, const char* help) {
    return Begin(name, MetricType::Counter, help);
  }
  Families& Gauge(const char* name, const char* help) {
    return Begin(name, MetricType::Gauge, help);
  }

  Families& Add(double value, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (families_.back().type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    return Add(std::move(metric));
  }
  Families& Add(uint64_t value, Labels labels = {}) {
    return Add(static_cast<double>(value), std::move(labels));
  }
  Families& Add(ClientMetric metric) {
    families_.back().metric.push_back(std::move(metric));
    return *this;
  }

  std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

uint64_t Sum(const Shards& shards, Counter ShardStats::*counter) {
  uint64_t sum = 0;
  for (const ShardStats* shard : shards) sum += (shard->*counter).value();
  return sum;
}

std::map<int, uint64_t> Sum(const Shards& shards,
                            CounterByCode ShardStats::*counter) {
  std::map<int, uint64_t> sums;
  for (const ShardStats* shard : shards) {
    for (const auto& [code, count] : (shard->*counter).values()) {
      sums[code] += count;
    }
  }
  return sums;
}

// Every code that ever happens gets a series when it first does; there are few.
std::string HandshakeResult(int http_status) {
  return http_status == 101 ? "accepted"
         : http_status == 0 ? "malformed"
                            : absl::StrCat(http_status);
}

ClientMetric Sum(const std::vector<const Histogram*>& histograms) {
  std::array<uint64_t, Histogram::kBuckets + 1> counts{};
  ClientMetric metric;
  for (const Histogram* histogram : histograms) {
    for (size_t i = 0; i < counts.size(); ++i) counts[i] += histogram->count(i);
    metric.histogram.sample_sum += histogram->sum_seconds();
  }
  // The serializer adds the bucket without a bound itself.
  uint64_t so_far = 0;
  const auto bounds = Histogram::Bounds();
  for (size_t i = 0; i < bounds.size(); ++i) {
    so_far += counts[i];
    metric.histogram.bucket.push_back({so_far, bounds[i]});
  }
  metric.histogram.sample_count = so_far + counts.back();
  return metric;
}

void CollectSockets(const MetricsSnapshot& s, Families& out) {
  out.Gauge("sockets", "Sockets of clients, also those in their handshake.")
      .Add(s.sockets);
  out.Gauge("connections", "Connections, by namespace and state.");
  for (const auto& [ns, counts] : s.namespaces) {
    out.Add(counts.pending, {{"namespace", ns}, {"state", "pending"}})
        .Add(counts.admitted, {{"namespace", ns}, {"state", "admitted"}})
        .Add(counts.closing, {{"namespace", ns}, {"state", "closing"}});
  }
  out.Counter("sockets_accepted_total", "Sockets accepted.")
      .Add(Sum(s.shards, &ShardStats::sockets_accepted));
  out.Counter("accept_failures_total",
              "Sockets that could not be accepted: no descriptor, no memory.")
      .Add(Sum(s.shards, &ShardStats::accept_failures));
  out.Counter("sockets_turned_away_total",
              "Sockets closed at once: there was no room for a refusal either.")
      .Add(Sum(s.shards, &ShardStats::sockets_turned_away));
  out.Counter("handshakes_total",
              "Handshakes, by result: accepted, the HTTP status of a refusal, "
              "or malformed.");
  for (const auto& [status, count] : Sum(s.shards, &ShardStats::handshakes)) {
    out.Add(count, {{"result", HandshakeResult(status)}});
  }
  out.Counter("handshake_timeouts_total",
              "Sockets closed because their handshake took too long.")
      .Add(Sum(s.shards, &ShardStats::handshake_timeouts));
  out.Counter("tls_failures_total",
              "Sockets closed because their TLS handshake failed.")
      .Add(Sum(s.shards, &ShardStats::tls_failures));
  out.Counter("connections_shed_total",
              "Connections closed for want of memory.")
      .Add(Sum(s.shards, &ShardStats::connections_shed));
  out.Counter("closes_total",
              "Connections closed, by close code; 1006 is none.");
  for (const auto& [code, count] : Sum(s.shards, &ShardStats::closes)) {
    out.Add(count, {{"code", absl::StrCat(code)}});
  }
}

void CollectMessages(const MetricsSnapshot& s, Families& out) {
  const Labels in = {{"direction", "in"}};
  const Labels to_clients = {{"direction", "out"}};
  out.Counter("messages_total",
              "Messages: in, from clients; out, queued for one each.")
      .Add(Sum(s.shards, &ShardStats::messages_in), in)
      .Add(Sum(s.shards, &ShardStats::messages_out), to_clients);
  out.Counter("messages_dropped_total",
              "Messages dropped: in, because nobody listens or they were no "
              "message; out, because the client was too slow.")
      .Add(Sum(s.shards, &ShardStats::messages_in_dropped), in)
      .Add(Sum(s.shards, &ShardStats::messages_out_dropped_slow), to_clients);
  out.Counter(
         "messages_expired_total",
         "Messages to clients whose ttl was over before they were written.")
      .Add(Sum(s.shards, &ShardStats::messages_out_expired));
  out.Counter("client_requests_total", "JSON-RPC requests of clients.")
      .Add(Sum(s.shards, &ShardStats::client_requests));
  out.Counter("client_requests_failed_total",
              "Of those, how many the broker answered with an error: refused, "
              "because nobody serves them or there is no room; lost, because "
              "there was no reply in time or the service left.")
      .Add(Sum(s.shards, &ShardStats::client_requests_refused),
           {{"why", "refused"}})
      .Add(Sum(s.shards, &ShardStats::client_requests_lost), {{"why", "lost"}});
  out.Counter("requests_to_clients_total",
              "JSON-RPC requests that services put to clients.")
      .Add(Sum(s.shards, &ShardStats::questions));
  out.Counter("client_replies_unmatched_total",
              "Replies of clients to what they were not asked, or too late.")
      .Add(Sum(s.shards, &ShardStats::replies_unmatched));
  out.Counter("bytes_total",
              "Bytes on the sockets of clients, handshakes included; with "
              "TLS those that are encrypted.")
      .Add(Sum(s.shards, &ShardStats::bytes_in), in)
      .Add(Sum(s.shards, &ShardStats::bytes_out), to_clients);
  out.Counter("pings_in_total", "Pings that clients sent.")
      .Add(Sum(s.shards, &ShardStats::pings_in));
  int64_t outbox = 0;
  int64_t peak = 0;
  int64_t slow = 0;
  for (const ShardStats* shard : s.shards) {
    outbox += shard->outbox_bytes.value();
    peak = std::max(peak, shard->outbox_peak_bytes.value());
    slow += shard->slow_connections.value();
  }
  out.Gauge("outbox_bytes", "Bytes that wait to be sent, in all outboxes.")
      .Add(static_cast<double>(outbox));
  out.Gauge("outbox_peak_bytes",
            "The most bytes that the outbox of one connection ever held.")
      .Add(static_cast<double>(peak));
  out.Gauge("slow_connections",
            "Connections whose outbox is above its soft limit.")
      .Add(static_cast<double>(slow));
  std::vector<const Histogram*> fan_outs;
  for (const ShardStats* shard : s.shards) fan_outs.push_back(&shard->fan_out);
  out.Begin("fan_out_seconds", MetricType::Histogram,
            "The time that one send took on one shard.")
      .Add(Sum(fan_outs));
}

void CollectJournal(const JournalStats& s, Families& out) {
  out.Counter("journal_changes_total", "Changes written to the journal.")
      .Add(s.changes.value());
  out.Counter("journal_failures_total",
              "Changes that could not be written to the journal.")
      .Add(s.failures.value());
  out.Begin(
         "journal_write_seconds", MetricType::Histogram,
         "The time that writing what had come together took, with its fsync.")
      .Add(Sum({&s.write_time}));
}

void CollectOffers(const Offers::Figures& offers, Families& out) {
  out.Gauge("attached_services", "Attached services that judge handshakes.")
      .Add(offers.services);
  out.Gauge("attached_services_taking_messages",
            "Attached services that take messages of clients.")
      .Add(offers.taking);
  out.Gauge("waiting_handshakes",
            "Pending connections that wait for an attached service's answer.")
      .Add(offers.waiting);
  out.Counter("offers_total", "Handshakes offered to attached services.")
      .Add(offers.offered);
  out.Counter("offers_expired_total",
              "Offers that a service did not answer in time.")
      .Add(offers.expired);
}

void CollectCallouts(const CalloutStats& callouts, Families& out) {
  out.Counter("callouts_total",
              "Handshakes that the application was to judge, by result; busy "
              "and open: it was not asked.");
  for (size_t i = 0; i < CalloutStats::kNames.size(); ++i) {
    out.Add(callouts.count(i), {{"result", CalloutStats::kNames[i]}});
  }
  out.Begin("callout_seconds", MetricType::Histogram,
            "The time that the application took to answer a callout.")
      .Add(Sum({&callouts.seconds()}));
  out.Gauge("callout_breaker_open",
            "1 while the application is left alone because it did not answer.")
      .Add(callouts.breaker_open() ? 1.0 : 0.0);
}

}  // namespace

std::vector<MetricFamily> CollectMetrics(const MetricsSnapshot& snapshot) {
  Families out;
  out.Gauge("build_info", "1, with the version as a label.")
      .Add(1.0, {{"version", snapshot.version}});
  out.Gauge("shards", "Threads that hold connections.")
      .Add(static_cast<double>(snapshot.shards.size()));
  out.Gauge("epoch", "The number of the newest revocation.")
      .Add(snapshot.epoch);
  out.Gauge("memory_resident_bytes", "Resident memory of the process.")
      .Add(snapshot.memory.resident_bytes);
  out.Gauge("memory_limit_bytes", "What it may have; 0 is no limit.")
      .Add(snapshot.memory.limit_bytes);
  out.Gauge("memory_level",
            "0: enough memory; 1: handshakes are refused; 2: the slowest "
            "connections are closed.")
      .Add(static_cast<double>(snapshot.memory.level));
  out.Counter("control_restarts_total",
              "How often the gRPC listener had died and was built again.")
      .Add(snapshot.control_restarts);
  if (snapshot.certificate_expires) {
    out.Gauge("certificate_expiry_timestamp_seconds",
              "When the certificate for clients expires, in Unix time.")
        .Add(static_cast<double>(*snapshot.certificate_expires));
  }
  CollectSockets(snapshot, out);
  CollectMessages(snapshot, out);
  if (snapshot.journal != nullptr) CollectJournal(*snapshot.journal, out);
  CollectOffers(snapshot.offers, out);
  if (snapshot.callouts != nullptr) CollectCallouts(*snapshot.callouts, out);
  out.Counter("rpcs_total", "Calls of the gRPC API, by method and code.");
  for (const RpcStatsSnapshot& rpc : snapshot.rpcs) {
    out.Add(rpc.count, {{"method", rpc.method}, {"code", rpc.code}});
  }
  return out.Take();
}

}  // namespace broker
