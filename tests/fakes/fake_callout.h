// FakeCallout: keeps what it is asked until the test answers.

#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "broker/hub/callout.h"

namespace broker::testing {

class FakeCallout final : public Callout {
 public:
  struct Question {
    HandshakeFacts facts;
    uint64_t epoch = 0;
    absl::AnyInvocable<void(CalloutAnswer)> done;

    void Admit(const std::string& account) {
      CalloutAnswer answer;
      IdentityFields fields;
      fields.account_id = account;
      answer.identity = Identity::Make(fields);
      done(std::move(answer));
    }
    void Refuse(int status, const std::string& body) {
      CalloutAnswer answer;
      answer.http_status = status;
      answer.body = body;
      done(std::move(answer));
    }
  };

  void Authenticate(const HandshakeFacts& facts, const EndpointSettings&,
                    uint64_t epoch,
                    absl::AnyInvocable<void(CalloutAnswer)> done) override {
    const std::lock_guard lock(mu_);
    questions_.push_back({facts, epoch, std::move(done)});
    asked_.notify_all();
  }

  // The next question; waits until there is one.
  Question Next() {
    std::unique_lock lock(mu_);
    asked_.wait(lock, [this] { return !questions_.empty(); });
    Question question = std::move(questions_.front());
    questions_.erase(questions_.begin());
    return question;
  }

 private:
  std::mutex mu_;
  std::condition_variable asked_;
  std::vector<Question> questions_;
};

}  // namespace broker::testing
