// FakeAuthenticator: the user's application, as a gRPC server on a free port.
// It keeps what it is asked and answers as the test says.

#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "socketbroker/v1/connect_authenticator.grpc.pb.h"

namespace broker::testing {

class FakeAuthenticator final
    : public socketbroker::v1::ConnectAuthenticator::Service {
 public:
  using Request = socketbroker::v1::AuthenticateRequest;
  using Response = socketbroker::v1::AuthenticateResponse;
  using Answer = std::function<grpc::Status(const Request&, Response*)>;

  explicit FakeAuthenticator(
      std::shared_ptr<grpc::ServerCredentials> credentials =
          grpc::InsecureServerCredentials(),
      int port = 0) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port), credentials,
                             &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~FakeAuthenticator() override {
    LetGo();
    server_->Shutdown();
  }

  std::string target() const { return "127.0.0.1:" + std::to_string(port_); }
  int port() const { return port_; }

  // From now on; at first it admits everybody as "a1".
  void On(Answer answer) {
    const std::lock_guard lock(mu_);
    answer_ = std::move(answer);
  }
  // Calls wait from now on, until LetGo.
  void Hold() {
    const std::lock_guard lock(mu_);
    held_ = true;
  }
  void LetGo() {
    const std::lock_guard lock(mu_);
    held_ = false;
    changed_.notify_all();
  }
  // Waits until so many calls have come in all.
  void WaitForCalls(size_t calls) {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [&] { return requests_.size() >= calls; });
  }

  std::vector<Request> requests() const {
    const std::lock_guard lock(mu_);
    return requests_;
  }
  // The `authorization` of the newest call.
  std::string authorization() const {
    const std::lock_guard lock(mu_);
    return authorization_;
  }
  // The common name of the newest caller's certificate.
  std::string caller() const {
    const std::lock_guard lock(mu_);
    return caller_;
  }

 private:
  grpc::Status Authenticate(grpc::ServerContext* context,
                            const Request* request,
                            Response* response) override {
    Answer answer;
    {
      std::unique_lock lock(mu_);
      requests_.push_back(*request);
      const auto& metadata = context->client_metadata();
      const auto it = metadata.find("authorization");
      authorization_ = it == metadata.end()
                           ? ""
                           : std::string(it->second.data(), it->second.size());
      const auto names =
          context->auth_context()->FindPropertyValues("x509_common_name");
      caller_ =
          names.empty() ? "" : std::string(names[0].data(), names[0].size());
      changed_.notify_all();
      changed_.wait(lock, [&] { return !held_; });
      answer = answer_;
    }
    return answer(*request, response);
  }

  mutable std::mutex mu_;
  std::condition_variable changed_;
  Answer answer_ = [](const Request&, Response* response) {
    response->mutable_identity()->set_account_id("a1");
    return grpc::Status::OK;
  };
  bool held_ = false;
  std::vector<Request> requests_;
  std::string authorization_;
  std::string caller_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace broker::testing
