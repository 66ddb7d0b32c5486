#include "broker/admin/metrics.h"

#include <prometheus/text_serializer.h>

#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Text(const MetricsSnapshot& snapshot) {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, CollectMetrics(snapshot));
  return out.str();
}

TEST(MetricsTest, AddsUpTheShards) {
  ShardStats a;
  ShardStats b;
  a.messages_in.Add(3);
  b.messages_in.Add(4);
  a.bytes_out.Add(1000);
  a.outbox_bytes.Add(70);
  b.outbox_bytes.Add(-20);
  a.outbox_peak_bytes.RaiseTo(90);
  b.outbox_peak_bytes.RaiseTo(80);
  a.slow_connections.Add(1);
  b.slow_connections.Add(1);
  a.handshakes.Add(101);
  b.handshakes.Add(101);
  b.handshakes.Add(401);
  b.handshakes.Add(0);
  a.closes.Add(4001);
  MetricsSnapshot snapshot;
  snapshot.shards = {&a, &b};
  const std::string text = Text(snapshot);
  for (const char* line :
       {"socketbroker_messages_total{direction=\"in\"} 7\n",
        "socketbroker_messages_total{direction=\"out\"} 0\n",
        "socketbroker_bytes_total{direction=\"out\"} 1000\n",
        "socketbroker_outbox_bytes 50\n", "socketbroker_outbox_peak_bytes 90\n",
        "socketbroker_slow_connections 2\n",
        "socketbroker_handshakes_total{result=\"accepted\"} 2\n",
        "socketbroker_handshakes_total{result=\"401\"} 1\n",
        "socketbroker_handshakes_total{result=\"malformed\"} 1\n",
        "socketbroker_closes_total{code=\"4001\"} 1\n",
        "socketbroker_shards 2\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(MetricsTest, HasCalloutsOnlyWhenThereIsOne) {
  MetricsSnapshot snapshot;
  EXPECT_THAT(Text(snapshot), Not(HasSubstr("callout")));
  CalloutStats callouts;
  callouts.Add(CalloutResult::kAdmitted);
  callouts.Add(CalloutResult::kOpen);
  callouts.Add(CalloutResult::kOpen);
  callouts.Observe(0.5);
  callouts.SetBreakerOpen(true);
  snapshot.callouts = &callouts;
  const std::string text = Text(snapshot);
  for (const char* line :
       {"socketbroker_callouts_total{result=\"admitted\"} 1\n",
        "socketbroker_callouts_total{result=\"refused\"} 0\n",
        "socketbroker_callouts_total{result=\"open\"} 2\n",
        "socketbroker_callout_seconds_count 1\n",
        "socketbroker_callout_seconds_sum 0.5\n",
        "socketbroker_callout_breaker_open 1\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(MetricsTest, HasOffers) {
  MetricsSnapshot snapshot;
  snapshot.offers = {2, 1, 3, 40, 5};
  const std::string text = Text(snapshot);
  for (const char* line :
       {"socketbroker_attached_services 2\n",
        "socketbroker_waiting_handshakes 3\n", "socketbroker_offers_total 40\n",
        "socketbroker_offers_expired_total 5\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(MetricsTest, HasNamespacesRpcsAndBuildInfo) {
  MetricsSnapshot snapshot;
  snapshot.version = "1.2.3";
  snapshot.sockets = 12;
  EXPECT_THAT(Text(snapshot), Not(HasSubstr("certificate")));
  snapshot.certificate_expires = 1'800'000'000;
  snapshot.namespaces["default"] = {1, 20, 3};
  snapshot.rpcs = {{"Send", "OK", 5}, {"Send", "INVALID_ARGUMENT", 1}};
  const std::string text = Text(snapshot);
  for (const char* line :
       {"socketbroker_build_info{version=\"1.2.3\"} 1\n",
        "socketbroker_sockets 12\n",
        "socketbroker_certificate_expiry_timestamp_seconds 1800000000\n",
        "socketbroker_connections{namespace=\"default\",state=\"pending\"} 1\n",
        "socketbroker_connections{namespace=\"default\",state=\"admitted\"} "
        "20\n",
        "socketbroker_connections{namespace=\"default\",state=\"closing\"} 3\n",
        "socketbroker_rpcs_total{method=\"Send\",code=\"OK\"} 5\n",
        "socketbroker_rpcs_total{method=\"Send\",code=\"INVALID_ARGUMENT\"} "
        "1\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(MetricsTest, HistogramIsCumulativeAndCountsEveryObservation) {
  ShardStats a;
  ShardStats b;
  a.fan_out.Observe(1e-6);
  b.fan_out.Observe(2e-5);
  b.fan_out.Observe(1e6);
  MetricsSnapshot snapshot;
  snapshot.shards = {&a, &b};
  const std::string text = Text(snapshot);
  EXPECT_THAT(text, HasSubstr("socketbroker_fan_out_seconds_count 3\n"));
  EXPECT_THAT(
      text, HasSubstr("socketbroker_fan_out_seconds_bucket{le=\"1e-05\"} 1\n"));
  EXPECT_THAT(
      text,
      HasSubstr("socketbroker_fan_out_seconds_bucket{le=\"2.5e-05\"} 2\n"));
  EXPECT_THAT(
      text, HasSubstr("socketbroker_fan_out_seconds_bucket{le=\"+Inf\"} 3\n"));
}

TEST(MetricsTest, NamesFollowTheConventions) {
  ShardStats stats;
  MetricsSnapshot snapshot;
  snapshot.shards = {&stats};
  for (const prometheus::MetricFamily& family : CollectMetrics(snapshot)) {
    EXPECT_EQ(family.name.rfind("socketbroker_", 0), 0u) << family.name;
    const bool total = family.name.size() > 6 &&
                       family.name.substr(family.name.size() - 6) == "_total";
    EXPECT_EQ(total, family.type == prometheus::MetricType::Counter)
        << family.name;
    EXPECT_FALSE(family.help.empty()) << family.name;
    EXPECT_EQ(family.help.back(), '.') << family.name;
  }
}

}  // namespace
}  // namespace broker
