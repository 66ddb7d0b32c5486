// The C++ service framework against a broker that is played by hand.

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "socketbroker/service.h"
#include "socketbroker/v1/socket_broker.grpc.pb.h"
#include "tests/client_stubs/local_server.h"

namespace socketbroker {
namespace {

using ::testing::HasSubstr;

constexpr std::chrono::seconds kPatience(15);

// One Attach stream, seen from the broker.
class Stream {
 public:
  using Raw = grpc::ServerReaderWriter<v1::AttachResponse, v1::AttachRequest>;
  explicit Stream(Raw& raw) : raw_(raw) {}

  // As the broker does; the start.
  v1::AttachStart Start() {
    v1::AttachResponse response;
    response.mutable_started()->set_epoch(7);
    raw_.Write(response);
    return Hear().start();
  }
  v1::AttachRequest Hear() {
    v1::AttachRequest request;
    EXPECT_TRUE(raw_.Read(&request));
    return request;
  }
  void Tell(const v1::AttachResponse& told) { raw_.Write(told); }
  void TellMessage(uint64_t id, const std::string& method, bool request) {
    v1::AttachResponse told;
    v1::ClientMessage& message = *told.mutable_client_message();
    message.set_message_id(id);
    message.set_connection_id("c1");
    (request ? message.mutable_request() : message.mutable_notification())
        ->set_method(method);
    Tell(told);
  }
  void TellCancelled(uint64_t id) {
    v1::AttachResponse told;
    told.mutable_request_cancelled()->set_message_id(id);
    Tell(told);
  }
  // The next reply; credit before it is passed over.
  v1::Reply HearReply() {
    for (;;) {
      const v1::AttachRequest request = Hear();
      if (request.has_reply() || !request.has_credit()) return request.reply();
    }
  }

 private:
  Raw& raw_;
};

class Broker final : public v1::SocketBroker::Service {
 public:
  using Play = std::function<grpc::Status(Stream)>;

  explicit Broker(Play play) : play_(std::move(play)) {}

  const std::string& address() const { return server_.address(); }

  grpc::Status Attach(grpc::ServerContext*, Stream::Raw* raw) override {
    return play_(Stream(*raw));
  }

 private:
  const Play play_;
  const LocalServer server_{*this};
};

// What Run returns, in the background.
std::future<grpc::Status> Begin(Service& service) {
  return std::async(std::launch::async, [&service] { return service.Run(); });
}

grpc::Status ResultOf(std::future<grpc::Status>& run) {
  if (run.wait_for(kPatience) != std::future_status::ready) {
    ADD_FAILURE() << "Run does not end";
    std::abort();  // its thread could not be joined
  }
  return run.get();
}

Reply Nothing(Context&) { return Reply::Result("null"); }

TEST(CppServiceTest, EndsWhileThereIsNoBroker) {
  for (const bool drain : {true, false}) {
    Client client("unix:/nonexistent/broker.sock");
    Service service(client);
    service.On("*", Nothing);
    auto run = Begin(service);
    // It may be anywhere on its way to the wait for the connection.
    EXPECT_EQ(run.wait_for(std::chrono::milliseconds(drain ? 0 : 100)),
              std::future_status::timeout);
    drain ? service.Drain() : service.Stop();
    EXPECT_TRUE(ResultOf(run).ok());
  }
}

TEST(CppServiceTest, WhatIsWrongIsSaidAtOnce) {
  Client client("unix:/nonexistent/broker.sock");
  for (const uint32_t concurrency : {0u, 1'001u}) {
    ServiceOptions options;
    options.concurrency = concurrency;
    Service service(client, options);
    const grpc::Status status = service.Run();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(status.error_message(), "concurrency is " +
                                          std::to_string(concurrency) +
                                          ", 1 to 1000 are allowed");
  }
  Service both(client);
  both.On("*", Nothing);
  both.OnMessage([](Context&) {});
  EXPECT_THAT(both.Run().error_message(), HasSubstr("exclude each other"));

  Service once(client);
  once.Stop();
  EXPECT_TRUE(once.Run().ok());
  EXPECT_EQ(once.Run().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST(CppServiceTest, ADrainThatEndsWellCancelsNothing) {
  std::promise<void> entered, open;
  std::atomic<bool> cancelled = true;
  Broker broker([&](Stream stream) {
    stream.Start();
    stream.TellMessage(1, "wait", false);
    EXPECT_TRUE(stream.Hear().has_drain());
    return grpc::Status::OK;
  });
  Client client(broker.address());
  Service service(client);
  service.On("wait", [&](Context& call) {
    entered.set_value();
    open.get_future().wait();
    cancelled = call.cancelled();
    return Reply::Result("null");
  });
  auto run = Begin(service);
  entered.get_future().wait();
  service.Drain();
  EXPECT_EQ(run.wait_for(std::chrono::milliseconds(50)),
            std::future_status::timeout);
  open.set_value();
  EXPECT_TRUE(ResultOf(run).ok());
  EXPECT_FALSE(cancelled);
}

TEST(CppServiceTest, ADrainThatLosesTheStreamSaysSo) {
  Service* served = nullptr;
  Broker broker([&](Stream stream) {
    stream.Start();
    stream.TellMessage(1, "m", true);
    EXPECT_EQ(stream.HearReply().message_id(), 1u);
    served->Drain();
    EXPECT_TRUE(stream.Hear().has_drain());
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "away");
  });
  Client client(broker.address());
  std::vector<std::string> errors;
  ServiceOptions options;
  options.on_error = [&](const std::string& what) { errors.push_back(what); };
  Service service(client, options);
  served = &service;
  service.On("m", Nothing);
  auto run = Begin(service);
  EXPECT_TRUE(ResultOf(run).ok());
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_THAT(errors[0], HasSubstr("while it was drained: away"));
}

TEST(CppServiceTest, ALostStreamCancelsWhatRuns) {
  std::promise<void> entered;
  int streams = 0;
  Broker broker([&](Stream stream) {
    if (++streams > 1) {
      return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "no");
    }
    stream.Start();
    stream.TellMessage(1, "wait", false);
    entered.get_future().wait();
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "away");
  });
  Client client(broker.address());
  Service service(client);
  service.On("wait", [&](Context& call) {
    entered.set_value();
    while (!call.cancelled()) std::this_thread::yield();
    return Reply::Result("null");
  });
  auto run = Begin(service);
  EXPECT_EQ(ResultOf(run).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST(CppServiceTest, WhatNoBrokerTakesIsTheFaultOfItsHandler) {
  const std::string too_long(5 << 20, 'x');
  std::vector<std::string> errors;
  bool sent = true;
  Broker broker([&](Stream stream) {
    stream.Start();
    stream.TellMessage(1, "long", true);
    const v1::Reply reply = stream.HearReply();
    EXPECT_EQ(reply.message_id(), 1u);
    EXPECT_EQ(reply.error().code(), -32603);
    return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "enough");
  });
  Client client(broker.address());
  ServiceOptions options;
  options.on_error = [&](const std::string& what) { errors.push_back(what); };
  Service service(client, options);
  service.On("long", [&](Context& call) {
    sent = call.Notify("m", "[\"" + too_long + "\"]");
    return Reply::Result("\"" + too_long + "\"");
  });
  auto run = Begin(service);
  EXPECT_EQ(ResultOf(run).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_FALSE(sent);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_THAT(errors[0], HasSubstr("at most 3145728"));
}

TEST(CppServiceTest, WhatIsStillHandledCountsForTheNextStream) {
  std::promise<void> open;
  const std::shared_future<void> opened = open.get_future().share();
  std::atomic<int> entered = 0;
  int streams = 0;
  Broker broker([&](Stream stream) {
    EXPECT_EQ(stream.Start().credit().messages(), 3u - streams);
    if (++streams <= 3) {
      stream.TellMessage(streams, "wait", false);
      while (entered < streams) std::this_thread::yield();
      return grpc::Status(grpc::StatusCode::UNAVAILABLE, "away");
    }
    open.set_value();
    uint32_t given = 0;
    while (given < 2) given += stream.Hear().credit().messages();
    stream.TellMessage(9, "next", true);
    for (v1::AttachRequest said; !said.has_reply(); said = stream.Hear()) {
      given += said.credit().messages();
    }
    EXPECT_LE(given, 3u);
    return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "enough");
  });
  Client client(broker.address());
  ServiceOptions options;
  options.concurrency = 3;
  Service service(client, options);
  service.On("next", Nothing);
  service.On("wait", [&](Context&) {
    ++entered;
    opened.wait();
    return Reply::Result("null");
  });
  auto run = Begin(service);
  EXPECT_EQ(ResultOf(run).error_code(), grpc::StatusCode::UNAUTHENTICATED);
}

TEST(CppServiceTest, WhatIsCancelledBeforeItBeginsDoesNotBegin) {
  std::promise<void> entered;
  std::vector<std::string> begun;
  Broker broker([&](Stream stream) {
    stream.Start();
    // More than there is credit for, so that the second waits.
    stream.TellMessage(1, "wait", true);
    stream.TellMessage(2, "late", true);
    stream.TellMessage(3, "next", true);
    entered.get_future().wait();
    stream.TellCancelled(2);
    stream.TellCancelled(1);
    EXPECT_EQ(stream.HearReply().message_id(), 3u);
    return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "enough");
  });
  Client client(broker.address());
  ServiceOptions options;
  options.concurrency = 1;
  Service service(client, options);
  service.On("*", [&](Context& call) {
    begun.push_back(call.method());
    if (call.method() == "wait") entered.set_value();
    while (call.method() == "wait" && !call.cancelled()) {
      std::this_thread::yield();
    }
    return Reply::Result("null");
  });
  auto run = Begin(service);
  EXPECT_EQ(ResultOf(run).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(begun, ::testing::ElementsAre("wait", "next"));
}

}  // namespace
}  // namespace socketbroker
