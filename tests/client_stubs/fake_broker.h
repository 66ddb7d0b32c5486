// FakeBroker: a SocketBroker on a port of its own that keeps every request and
// answers as the test says; an RPC without an answer is OK and empty.

#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "socketbroker/v1/socket_broker.grpc.pb.h"
#include "tests/client_stubs/local_server.h"

namespace socketbroker {

// An error as the broker makes them.
inline grpc::Status Refused(grpc::StatusCode code, const std::string& reason,
                            const std::string& domain = "socketbroker") {
  google::rpc::Status details;
  details.set_code(code);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain(domain);
  (*info.mutable_metadata())["limit"] = "7";
  details.add_details()->PackFrom(info);
  return grpc::Status(code, "refused", details.SerializeAsString());
}

class FakeBroker final : public v1::SocketBroker::Service {
 public:
  ~FakeBroker() override { EndWatches(grpc::Status::OK); }

  const std::string& address() const { return server_.address(); }

  // From now on `answer` answers the RPC that takes a Request.
  template <typename Request, typename Response>
  void On(std::function<grpc::Status(const Request&, Response*)> answer) {
    std::lock_guard lock(mu_);
    answers_[Request::descriptor()->full_name()] = std::make_shared<AnyAnswer>(
        [answer](const google::protobuf::Message& request,
                 google::protobuf::Message* response) {
          return answer(static_cast<const Request&>(request),
                        static_cast<Response*>(response));
        });
  }

  // What a watch sends before it waits for EndWatches.
  void OnWatch(std::vector<v1::WatchConnectionsResponse> responses) {
    std::lock_guard lock(mu_);
    watch_responses_ = std::move(responses);
  }

  // Ends every watch, also those to come.
  void EndWatches(const grpc::Status& status) {
    std::lock_guard lock(mu_);
    watch_status_ = status;
    watch_ended_.notify_all();
  }

  // All requests of one kind so far, in order.
  template <typename Request>
  std::vector<Request> Requests() const {
    std::lock_guard lock(mu_);
    std::vector<Request> requests;
    for (const auto& request : requests_) {
      if (const auto* same = dynamic_cast<const Request*>(request.get())) {
        requests.push_back(*same);
      }
    }
    return requests;
  }

  // What came with the last call.
  std::multimap<std::string, std::string> metadata() const {
    std::lock_guard lock(mu_);
    return metadata_;
  }
  std::chrono::system_clock::time_point deadline() const {
    std::lock_guard lock(mu_);
    return deadline_;
  }

  // One answer for each request; an error ends the stream.
  grpc::Status Publish(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::PublishResponse, v1::PublishRequest>* stream)
      override {
    v1::PublishRequest request;
    while (stream->Read(&request)) {
      v1::PublishResponse response;
      grpc::Status status = Answer(*context, request, &response);
      if (!status.ok()) return status;
      stream->Write(response);
    }
    return grpc::Status::OK;
  }

  // The same.
  grpc::Status Attach(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::AttachResponse, v1::AttachRequest>* stream)
      override {
    v1::AttachRequest request;
    while (stream->Read(&request)) {
      v1::AttachResponse response;
      grpc::Status status = Answer(*context, request, &response);
      if (!status.ok()) return status;
      stream->Write(response);
    }
    return grpc::Status::OK;
  }

  grpc::Status AddConnection(grpc::ServerContext* context,
                             const v1::AddConnectionRequest* request,
                             v1::AddConnectionResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status AdmitConnection(grpc::ServerContext* context,
                               const v1::AdmitConnectionRequest* request,
                               v1::AdmitConnectionResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status UpdateConnection(
      grpc::ServerContext* context, const v1::UpdateConnectionRequest* request,
      v1::UpdateConnectionResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status UpdateConnectionsFiltered(
      grpc::ServerContext* context,
      const v1::UpdateConnectionsFilteredRequest* request,
      v1::UpdateConnectionsFilteredResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status RemoveConnection(
      grpc::ServerContext* context, const v1::RemoveConnectionRequest* request,
      v1::RemoveConnectionResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status CreateTicket(grpc::ServerContext* context,
                            const v1::CreateTicketRequest* request,
                            v1::CreateTicketResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status CloseSocketsForSession(
      grpc::ServerContext* context,
      const v1::CloseSocketsForSessionRequest* request,
      v1::CloseSocketsForSessionResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status CloseSocketsForAccount(
      grpc::ServerContext* context,
      const v1::CloseSocketsForAccountRequest* request,
      v1::CloseSocketsForAccountResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status CloseSocketsForToken(
      grpc::ServerContext* context,
      const v1::CloseSocketsForTokenRequest* request,
      v1::CloseSocketsForTokenResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status CloseSocketsFiltered(
      grpc::ServerContext* context,
      const v1::CloseSocketsFilteredRequest* request,
      v1::CloseSocketsFilteredResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status ListRevocations(grpc::ServerContext* context,
                               const v1::ListRevocationsRequest* request,
                               v1::ListRevocationsResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status LiftRevocation(grpc::ServerContext* context,
                              const v1::LiftRevocationRequest* request,
                              v1::LiftRevocationResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status Send(grpc::ServerContext* context,
                    const v1::SendRequest* request,
                    v1::SendResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status SendToConnection(
      grpc::ServerContext* context, const v1::SendToConnectionRequest* request,
      v1::SendToConnectionResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status SendToAccount(grpc::ServerContext* context,
                             const v1::SendToAccountRequest* request,
                             v1::SendToAccountResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status BroadcastFiltered(
      grpc::ServerContext* context, const v1::BroadcastFilteredRequest* request,
      v1::BroadcastFilteredResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status GetConnection(grpc::ServerContext* context,
                             const v1::GetConnectionRequest* request,
                             v1::GetConnectionResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status ListConnections(grpc::ServerContext* context,
                               const v1::ListConnectionsRequest* request,
                               v1::ListConnectionsResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status CountConnections(
      grpc::ServerContext* context, const v1::CountConnectionsRequest* request,
      v1::CountConnectionsResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status GetBrokerInfo(grpc::ServerContext* context,
                             const v1::GetBrokerInfoRequest* request,
                             v1::GetBrokerInfoResponse* response) override {
    return Answer(*context, *request, response);
  }
  grpc::Status RequestConnection(
      grpc::ServerContext* context, const v1::RequestConnectionRequest* request,
      v1::RequestConnectionResponse* response) override {
    return Answer(*context, *request, response);
  }
  // One answer, or an error.
  grpc::Status RequestFiltered(
      grpc::ServerContext* context, const v1::RequestFilteredRequest* request,
      grpc::ServerWriter<v1::RequestFilteredResponse>* writer) override {
    v1::RequestFilteredResponse response;
    grpc::Status status = Answer(*context, *request, &response);
    if (status.ok()) writer->Write(response);
    return status;
  }
  grpc::Status WatchConnections(
      grpc::ServerContext* context, const v1::WatchConnectionsRequest* request,
      grpc::ServerWriter<v1::WatchConnectionsResponse>* writer) override {
    Keep(*context, *request);
    std::unique_lock lock(mu_);
    for (const auto& response : watch_responses_) writer->Write(response);
    watch_ended_.wait(lock, [this] { return watch_status_.has_value(); });
    return *watch_status_;
  }

 private:
  using AnyAnswer = std::function<grpc::Status(const google::protobuf::Message&,
                                               google::protobuf::Message*)>;

  void Keep(const grpc::ServerContext& context,
            const google::protobuf::Message& request) {
    std::lock_guard lock(mu_);
    requests_.emplace_back(request.New())->CopyFrom(request);
    deadline_ = context.deadline();
    metadata_.clear();
    for (const auto& [key, value] : context.client_metadata()) {
      metadata_.emplace(std::string(key.data(), key.size()),
                        std::string(value.data(), value.size()));
    }
  }

  grpc::Status Answer(const grpc::ServerContext& context,
                      const google::protobuf::Message& request,
                      google::protobuf::Message* response) {
    Keep(context, request);
    std::shared_ptr<AnyAnswer> answer;
    {
      std::lock_guard lock(mu_);
      const auto found = answers_.find(request.GetDescriptor()->full_name());
      if (found == answers_.end()) return grpc::Status::OK;
      answer = found->second;
    }
    return (*answer)(request, response);
  }

  mutable std::mutex mu_;
  std::map<std::string, std::shared_ptr<AnyAnswer>> answers_;
  std::vector<v1::WatchConnectionsResponse> watch_responses_;
  std::optional<grpc::Status> watch_status_;
  std::condition_variable watch_ended_;
  std::vector<std::unique_ptr<google::protobuf::Message>> requests_;
  std::multimap<std::string, std::string> metadata_;
  std::chrono::system_clock::time_point deadline_;
  const LocalServer server_{*this};  // the last: it serves all of these
};

}  // namespace socketbroker
