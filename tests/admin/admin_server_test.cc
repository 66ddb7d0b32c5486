#include "broker/admin/admin_server.h"

#include <arpa/inet.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace broker {
namespace {

using ::testing::HasSubstr;

class AdminServerTest : public ::testing::Test {
 protected:
  AdminServerTest() : server_(Source()) {
    EXPECT_TRUE(server_.Bind("127.0.0.1", 0).ok());
    server_.Serve();
    client_ = std::make_unique<httplib::Client>("127.0.0.1", server_.port());
  }

  AdminSource Source() {
    AdminSource source;
    source.live = [this] { return live_.load(); };
    source.ready = [this] { return ready_.load(); };
    source.status_json = [] { return std::string(R"({"ready":true})"); };
    source.metrics = [] {
      prometheus::MetricFamily family;
      family.name = "socketbroker_test";
      family.help = "A test.";
      family.type = prometheus::MetricType::Gauge;
      family.metric.emplace_back().gauge.value = 3;
      return std::vector<prometheus::MetricFamily>{family};
    };
    return source;
  }

  // A connection that has sent `bytes`.
  int Connect(const std::string& bytes) const {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server_.port());
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    EXPECT_EQ(
        connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    return fd;
  }

  std::atomic<bool> live_{true};
  std::atomic<bool> ready_{true};
  AdminServer server_;
  std::unique_ptr<httplib::Client> client_;
};

TEST_F(AdminServerTest, TellsLifeAndReadiness) {
  EXPECT_EQ(client_->Get("/livez")->status, 200);
  EXPECT_EQ(client_->Get("/readyz")->status, 200);
  ready_ = false;
  EXPECT_EQ(client_->Get("/livez")->status, 200);
  EXPECT_EQ(client_->Get("/readyz")->status, 503);
  live_ = false;
  const auto result = client_->Get("/livez");
  EXPECT_EQ(result->status, 503);
  EXPECT_EQ(result->body, "not live\n");
}

TEST_F(AdminServerTest, ServesStatusAndMetrics) {
  const auto status = client_->Get("/statusz");
  EXPECT_EQ(status->status, 200);
  EXPECT_EQ(status->get_header_value("Content-Type"), "application/json");
  EXPECT_EQ(status->get_header_value("Cache-Control"), "no-store");
  EXPECT_EQ(status->body, R"({"ready":true})");
  const auto metrics = client_->Get("/metrics");
  EXPECT_EQ(metrics->status, 200);
  EXPECT_THAT(metrics->get_header_value("Content-Type"),
              HasSubstr("version=0.0.4"));
  EXPECT_THAT(metrics->body, HasSubstr("socketbroker_test 3\n"));
}

TEST_F(AdminServerTest, RefusesEverythingElse) {
  const auto missing = client_->Get("/etc/passwd");
  EXPECT_EQ(missing->status, 404);
  EXPECT_THAT(missing->body, HasSubstr("/metrics"));
  EXPECT_EQ(client_->Post("/livez", "body", "text/plain")->status, 405);
  EXPECT_GE(client_->Get("/" + std::string(10'000, 'x'))->status, 400);
}

TEST_F(AdminServerTest, NeverWaitsForABody) {
  const int fd = Connect(
      "POST /livez HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
  std::string answer(12, '\0');
  EXPECT_EQ(recv(fd, answer.data(), answer.size(), MSG_WAITALL), 12);
  EXPECT_EQ(answer, "HTTP/1.1 405");
  close(fd);
  EXPECT_EQ(client_->Head("/livez")->status, 200);
}

TEST_F(AdminServerTest, SurvivesManyAtOnceAndGarbage) {
  for (const char* bytes :
       {"", "\r\n\r\n", "GARBAGE\r\n\r\n", "GET / HTTP/9"}) {
    close(Connect(bytes));
  }
  std::vector<std::thread> threads;
  std::atomic<int> served{0};
  for (int i = 0; i < 32; ++i) {
    threads.emplace_back([&] {
      httplib::Client client("127.0.0.1", server_.port());
      const auto result = client.Get("/metrics");
      if (result && result->status == 200) ++served;
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(served, 32);
}

TEST_F(AdminServerTest, StopDoesNotWaitForClients) {
  // In the middle of their requests, held by three of the four workers: the
  // fourth takes what came behind them.
  std::vector<int> stuck;
  for (int i = 0; i < 3; ++i) stuck.push_back(Connect("GET /livez HT"));
  EXPECT_EQ(client_->Get("/livez")->status, 200);
  for (int i = 0; i < 20; ++i) stuck.push_back(Connect("GET /livez HT"));
  const auto begin = std::chrono::steady_clock::now();
  server_.Stop();
  server_.Stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  for (const int fd : stuck) close(fd);
  EXPECT_FALSE(httplib::Client("127.0.0.1", server_.port()).Get("/livez"));
}

TEST_F(AdminServerTest, TakenPortIsAnErrorThatNamesIt) {
  AdminServer second(Source());
  const absl::Status status = second.Bind("127.0.0.1", server_.port());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("127.0.0.1:" + std::to_string(server_.port())));
  EXPECT_THAT(std::string(status.message()), HasSubstr("in use"));
}

TEST_F(AdminServerTest, ForeignAddressIsAnError) {
  AdminServer second(Source());
  EXPECT_FALSE(second.Bind("192.0.2.1", 0).ok());
}

}  // namespace
}  // namespace broker
