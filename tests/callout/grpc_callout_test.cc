// The callout against a real gRPC server in the same process.

#include "broker/callout/grpc_callout.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <future>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "broker/core/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_authenticator.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/tls_client.h"

namespace broker::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// What the log said while it lives.
class LogCapture {
 public:
  LogCapture() {
    SetLogSink([this](absl::string_view line) {
      MutexLock lock(mu_);
      absl::StrAppend(&text_, line, "\n");
    });
  }
  ~LogCapture() { SetLogSink(nullptr); }
  std::string text() const {
    MutexLock lock(mu_);
    return text_;
  }

 private:
  mutable Mutex mu_;
  std::string text_ ABSL_GUARDED_BY(mu_);
};

class GrpcCalloutTest : public ::testing::Test {
 protected:
  GrpcCalloutTest() {
    facts_.path = "/ws";
    facts_.query = "room=%C3%A9";
    facts_.remote_address = "192.0.2.7";
    facts_.remote_port = 1234;
    facts_.tls = true;
    facts_.headers = {{"Origin", "https://app.example"},
                      {"Cookie", "sid=a=b; lang=\"de\";; bare"},
                      {"X-Name", "caf\xe9"}};
    facts_.subprotocols = {"chat", "socketbroker.v1"};
    endpoint_.ns = "ns1";
    options_.deadline = std::chrono::seconds(30);
  }

  void Make(const std::string& target) {
    options_.target = target;
    auto made = GrpcCallout::Make(options_, clock_);
    ASSERT_TRUE(made.ok()) << made.status();
    callout_ = *std::move(made);
  }
  std::future<CalloutAnswer> Start() {
    auto promise = std::make_shared<std::promise<CalloutAnswer>>();
    callout_->Authenticate(facts_, endpoint_, 42, [promise](CalloutAnswer a) {
      promise->set_value(std::move(a));
    });
    return promise->get_future();
  }
  CalloutAnswer Ask() { return Start().get(); }
  uint64_t Count(CalloutResult result) {
    return callout_->stats().count(static_cast<size_t>(result));
  }
  std::string File(const std::string& text) {
    files_.push_back(absl::StrCat(::testing::TempDir(), "callout_test.",
                                  getpid(), ".", files_.size()));
    std::ofstream(files_.back(), std::ios::binary) << text;
    return files_.back();
  }
  ~GrpcCalloutTest() override {
    for (const std::string& file : files_) std::remove(file.c_str());
  }

  LogCapture log_;
  FakeClock clock_;
  HandshakeFacts facts_;
  EndpointSettings endpoint_;
  CalloutOptions options_;
  std::vector<std::string> files_;
  std::unique_ptr<GrpcCallout> callout_;
};

TEST_F(GrpcCalloutTest, AsksWithAllFactsAndAdmits) {
  FakeAuthenticator application;
  application.On([](const auto&, auto* response) {
    auto& identity = *response->mutable_identity();
    identity.set_account_id("a7");
    identity.set_token_hash("s7");
    (*identity.mutable_labels())["plan"] = "pro";
    return grpc::Status::OK;
  });
  Make(application.target());
  const CalloutAnswer answer = Ask();
  EXPECT_EQ(answer.http_status, 101);
  EXPECT_EQ(answer.identity->account_id(), "a7");
  EXPECT_EQ(answer.identity->token_hash(), "s7");
  EXPECT_EQ(answer.identity->FindLabel("plan"), "pro");
  EXPECT_EQ(Count(CalloutResult::kAdmitted), 1u);

  const auto asked = application.requests()[0].handshake();
  EXPECT_EQ(asked.namespace_(), "ns1");
  EXPECT_EQ(asked.endpoint(), "/ws");
  EXPECT_EQ(asked.query(), "room=%C3%A9");
  EXPECT_EQ(asked.remote_address(), "192.0.2.7");
  EXPECT_EQ(asked.remote_port(), 1234u);
  EXPECT_TRUE(asked.tls());
  EXPECT_EQ(asked.epoch(), 42u);
  ASSERT_EQ(asked.headers_size(), 2);
  EXPECT_EQ(asked.headers(0).name(), "origin");
  EXPECT_EQ(asked.headers(1).name(), "x-name");
  EXPECT_EQ(asked.headers(1).value(), "caf\xc3\xa9");
  ASSERT_EQ(asked.cookies_size(), 3);
  EXPECT_EQ(asked.cookies(0).name(), "sid");
  EXPECT_EQ(asked.cookies(0).value(), "a=b");
  EXPECT_EQ(asked.cookies(1).value(), "\"de\"");
  EXPECT_EQ(asked.cookies(2).name(), "");
  EXPECT_EQ(asked.cookies(2).value(), "bare");
  EXPECT_EQ(asked.subprotocols_size(), 2);
  EXPECT_EQ(application.authorization(), "");
}

TEST_F(GrpcCalloutTest, ARefusalIsPassedOn) {
  FakeAuthenticator application;
  application.On([](const auto&, auto* response) {
    response->mutable_refusal()->set_http_status(403);
    response->mutable_refusal()->set_reason("your subscription has ended");
    return grpc::Status::OK;
  });
  Make(application.target());
  const CalloutAnswer answer = Ask();
  EXPECT_EQ(answer.http_status, 403);
  EXPECT_EQ(answer.body, "your subscription has ended");
  EXPECT_EQ(Count(CalloutResult::kRefused), 1u);
}

TEST_F(GrpcCalloutTest, AnswersThatCannotBeTakenRefuseWith503) {
  FakeAuthenticator application;
  Make(application.target());
  const std::vector<std::function<void(FakeAuthenticator::Response&)>> bad = {
      [](auto&) {},
      [](auto& r) { r.mutable_identity(); },
      [](auto& r) { r.mutable_identity()->set_account_id(""); },
      [](auto& r) {
        r.mutable_identity()->set_account_id("a");
        r.mutable_identity()->set_token_hash("s");
        r.mutable_identity()->set_api_token_id("t");
      },
      [](auto& r) {
        r.mutable_identity()->set_account_id("a");
        r.mutable_identity()->mutable_expires_at()->set_seconds(1);
      },
      [](auto& r) { r.mutable_refusal()->set_http_status(101); },
      [](auto& r) { r.mutable_refusal()->set_http_status(399); },
      [](auto& r) { r.mutable_refusal()->set_http_status(600); },
      [](auto& r) {
        r.mutable_refusal()->set_http_status(403);
        r.mutable_refusal()->set_reason("one\r\ntwo");
      },
      [](auto& r) {
        r.mutable_refusal()->set_http_status(403);
        r.mutable_refusal()->set_reason(std::string(513, 'x'));
      }};
  for (const auto& fill : bad) {
    application.On([&](const auto&, auto* response) {
      fill(*response);
      return grpc::Status::OK;
    });
    const CalloutAnswer answer = Ask();
    EXPECT_EQ(answer.http_status, 503);
    EXPECT_EQ(answer.identity, nullptr);
  }
  EXPECT_EQ(Count(CalloutResult::kInvalid), bad.size());
  EXPECT_THAT(log_.text(), HasSubstr("\"callout_invalid\""));
  EXPECT_THAT(log_.text(), HasSubstr("result: is missing"));
  EXPECT_FALSE(callout_->stats().breaker_open()) << "somebody is there";
}

TEST_F(GrpcCalloutTest, AnErrorOfAnyCodeRefusesAndIsNotQuoted) {
  FakeAuthenticator application;
  application.On([](const auto&, auto*) {
    return grpc::Status(grpc::PERMISSION_DENIED, "no session s3cret");
  });
  Make(application.target());
  EXPECT_EQ(Ask().http_status, 503);
  EXPECT_EQ(Count(CalloutResult::kFailed), 1u);
  EXPECT_THAT(log_.text(), HasSubstr("PERMISSION_DENIED"));
  EXPECT_THAT(log_.text(), Not(HasSubstr("s3cret")));
}

TEST_F(GrpcCalloutTest, TheDeadlineIsAFailure) {
  FakeAuthenticator application;
  application.Hold();
  options_.deadline = std::chrono::milliseconds(50);
  Make(application.target());
  EXPECT_EQ(Ask().http_status, 503);
  EXPECT_EQ(Count(CalloutResult::kDeadline), 1u);
}

TEST_F(GrpcCalloutTest, NobodyThereIsAFailure) {
  int port = 0;
  {
    FakeAuthenticator gone;
    port = gone.port();
  }
  Make(absl::StrCat("127.0.0.1:", port));
  EXPECT_EQ(Ask().http_status, 503);
  EXPECT_EQ(Count(CalloutResult::kFailed), 1u);
}

TEST_F(GrpcCalloutTest, MoreThanAreAllowedAreNotAsked) {
  FakeAuthenticator application;
  application.Hold();
  options_.max_concurrent = 2;
  Make(application.target());
  auto first = Start();
  auto second = Start();
  EXPECT_EQ(Ask().http_status, 503);
  EXPECT_EQ(Count(CalloutResult::kBusy), 1u);
  application.LetGo();
  EXPECT_EQ(first.get().http_status, 101);
  EXPECT_EQ(second.get().http_status, 101);
  EXPECT_EQ(application.requests().size(), 2u);
}

TEST_F(GrpcCalloutTest, TheBreakerOpensTriesAndCloses) {
  FakeAuthenticator application;
  application.On([](const auto&, auto*) {
    return grpc::Status(grpc::INTERNAL, "broken");
  });
  options_.breaker_failures = 3;
  Make(application.target());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Ask().http_status, 503);
  EXPECT_TRUE(callout_->stats().breaker_open());
  EXPECT_EQ(Ask().http_status, 503);
  EXPECT_EQ(Count(CalloutResult::kOpen), 1u);
  EXPECT_EQ(application.requests().size(), 3u) << "it was asked while open";
  application.On([](const auto&, auto* response) {
    response->mutable_identity()->set_account_id("a1");
    return grpc::Status::OK;
  });
  clock_.Advance(absl::Seconds(5));
  EXPECT_EQ(Ask().http_status, 101);
  EXPECT_FALSE(callout_->stats().breaker_open());
  EXPECT_THAT(log_.text(), HasSubstr("\"callout_breaker_opened\""));
  EXPECT_THAT(log_.text(), HasSubstr("\"callout_breaker_closed\""));
}

TEST_F(GrpcCalloutTest, TheKeyIsShownAndNotLogged) {
  FakeAuthenticator application;
  options_.key_file = File("k3y-of-the-broker\n");
  Make(application.target());
  EXPECT_EQ(Ask().http_status, 101);
  EXPECT_EQ(application.authorization(), "Bearer k3y-of-the-broker");
  EXPECT_THAT(log_.text(), Not(HasSubstr("k3y")));
}

TEST_F(GrpcCalloutTest, AKeyFileMustHoldAKey) {
  options_.target = "127.0.0.1:1";
  for (const std::string& text :
       {std::string(), std::string("\n"), std::string("two words"),
        std::string(1025, 'x')}) {
    options_.key_file = File(text);
    const auto made = GrpcCallout::Make(options_);
    ASSERT_FALSE(made.ok());
    EXPECT_THAT(std::string(made.status().message()),
                AllOf(HasSubstr("key_file: "), HasSubstr("has no key"),
                      Not(HasSubstr("two words"))));
  }
  options_.key_file = "/nowhere/key";
  EXPECT_THAT(std::string(GrpcCallout::Make(options_).status().message()),
              HasSubstr("cannot be read: No such file"));
}

std::string Slurp(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST_F(GrpcCalloutTest, TlsBothWays) {
  const TestCertificate theirs("app.example");
  const TestCertificate ours("the-broker");
  grpc::SslServerCredentialsOptions ssl(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  ssl.pem_root_certs = Slurp(ours.certificate_file());
  ssl.pem_key_cert_pairs.push_back(
      {Slurp(theirs.private_key_file()), Slurp(theirs.certificate_file())});
  FakeAuthenticator application(grpc::SslServerCredentials(ssl));

  options_.tls = true;
  options_.ca_file = theirs.certificate_file();
  options_.certificate_file = ours.certificate_file();
  options_.private_key_file = ours.private_key_file();
  options_.server_name = "app.example";
  Make(application.target());
  EXPECT_EQ(Ask().http_status, 101);
  EXPECT_EQ(application.caller(), "the-broker");

  // Somebody who shows another certificate is not asked.
  options_.ca_file = ours.certificate_file();
  Make(application.target());
  EXPECT_EQ(Ask().http_status, 503);
  EXPECT_EQ(application.requests().size(), 1u);
}

TEST_F(GrpcCalloutTest, TheEndWaitsForCallsAndDropsThem) {
  FakeAuthenticator application;
  application.Hold();
  Make(application.target());
  std::vector<std::future<CalloutAnswer>> answers;
  for (int i = 0; i < 10; ++i) answers.push_back(Start());
  application.WaitForCalls(1);
  callout_.reset();
  for (auto& answer : answers) EXPECT_EQ(answer.get().http_status, 503);
}

}  // namespace
}  // namespace broker::testing
