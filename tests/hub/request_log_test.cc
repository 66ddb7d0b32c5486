#include "broker/hub/request_log.h"

#include <string>
#include <vector>

#include "broker/core/status.h"
#include "gtest/gtest.h"
#include "tests/fakes/fake_clock.h"

namespace broker {
namespace {

using Finish = absl::AnyInvocable<void(RequestLog::Answer)>;

class RequestLogTest : public ::testing::Test {
 protected:
  struct Seen {
    RequestLog::Answer answer = std::string();
    bool replayed = false;
    int times = 0;
  };
  // Acts by keeping the finish for later.
  void Call(const std::string& id, const std::string& body, Seen& seen,
            const std::string& method = "M") {
    log_.Run(
        method, id, body,
        [this](Finish finish) {
          ++acted_;
          finishes_.push_back(std::move(finish));
        },
        [&seen](const RequestLog::Answer& answer, bool replayed) {
          seen = {answer, replayed, seen.times + 1};
        });
  }
  void Finish1(RequestLog::Answer answer) {
    auto finish = std::move(finishes_.front());
    finishes_.erase(finishes_.begin());
    finish(std::move(answer));
  }

  testing::FakeClock clock_;
  RequestLog log_{clock_};
  std::vector<Finish> finishes_;
  int acted_ = 0;
};

TEST_F(RequestLogTest, ARepeatGetsTheFirstAnswerAndActsNoMore) {
  Seen first, second;
  Call("id", "body", first);
  Finish1(std::string("answer"));
  Call("id", "body", second);
  EXPECT_EQ(acted_, 1);
  EXPECT_FALSE(first.replayed);
  EXPECT_TRUE(second.replayed);
  EXPECT_EQ(*second.answer, "answer");
}

TEST_F(RequestLogTest, AConcurrentRepeatJoinsTheFirst) {
  Seen first, second;
  Call("id", "body", first);
  Call("id", "body", second);
  EXPECT_EQ(acted_, 1);
  EXPECT_EQ(second.times, 0);
  Finish1(std::string("answer"));
  EXPECT_EQ(first.times, 1);
  EXPECT_EQ(second.times, 1);
  EXPECT_EQ(*second.answer, "answer");
}

TEST_F(RequestLogTest, AnotherBodyIsInvalid) {
  Seen first, second;
  Call("id", "body", first);
  Call("id", "other", second);
  EXPECT_EQ(second.answer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetErrorReason(second.answer.status()).reason, "REQUEST_ID_REUSED");
  Finish1(std::string("answer"));
}

TEST_F(RequestLogTest, ErrorsAreSharedButNotRemembered) {
  Seen first, second, third;
  Call("id", "body", first);
  Call("id", "body", second);
  Finish1(absl::NotFoundError("no"));
  EXPECT_FALSE(second.answer.ok());
  Call("id", "body", third);
  EXPECT_EQ(acted_, 2);
  Finish1(std::string("yes"));
  EXPECT_EQ(*third.answer, "yes");
}

TEST_F(RequestLogTest, MethodsAreApart) {
  Seen first, second;
  Call("id", "body", first, "A");
  Call("id", "body", second, "B");
  EXPECT_EQ(acted_, 2);
  Finish1(std::string("a"));
  Finish1(std::string("b"));
  EXPECT_EQ(*second.answer, "b");
}

TEST_F(RequestLogTest, IsForgottenAfterTenMinutes) {
  Seen seen;
  Call("id", "body", seen);
  Finish1(std::string("answer"));
  clock_.Advance(absl::Minutes(10) - absl::Milliseconds(1));
  Call("id", "body", seen);
  EXPECT_EQ(acted_, 1);
  clock_.Advance(absl::Milliseconds(1));
  Call("id", "body", seen);
  EXPECT_EQ(acted_, 2);
  Finish1(std::string("answer"));
}

TEST_F(RequestLogTest, RemembersSoManyAndForgetsTheOldest) {
  Seen seen;
  for (size_t i = 0; i <= RequestLog::kMaxRemembered + 1; ++i) {
    Call(std::to_string(i), "body", seen);
    Finish1(std::string("answer"));
  }
  acted_ = 0;
  Call("0", "body", seen);
  EXPECT_EQ(acted_, 1);
  Finish1(std::string("answer"));
  Call(std::to_string(RequestLog::kMaxRemembered), "body", seen);
  EXPECT_EQ(acted_, 1);
}

TEST_F(RequestLogTest, BoundsTheBytesOfAnswers) {
  Seen seen;
  const std::string large(RequestLog::kMaxBytes / 2, 'x');
  for (int i = 0; i < 4; ++i) {
    Call(std::to_string(i), "body", seen);
    Finish1(large);
  }
  acted_ = 0;
  Call("0", "body", seen);
  EXPECT_EQ(acted_, 1);
  Finish1(std::string());
}

}  // namespace
}  // namespace broker
