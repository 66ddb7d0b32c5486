// bench_empty_grpc: the floor of a call that sends. The broker's own service,
// whose SendToAccount looks nothing up and checks nothing: it makes a frame of
// the message and gives it to a socket drawn at random with a bare send(2),
// from gRPC's thread. Beside it, the WebSocket side of bench_floor.
//
// Publish does the same for each item of a request. GetBrokerInfo does nothing.
//
// It says {"port":n,"control":"address"} and ends with its input.

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <sys/prctl.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <memory>
#include <string>

#include "socketbroker/v1/socket_broker.grpc.pb.h"
#include "tools/bench/common/commands.h"
#include "tools/bench/common/frames.h"
#include "tools/bench/floor/server.h"

namespace bench {
namespace {

namespace v1 = socketbroker::v1;

class EmptyService : public v1::SocketBroker::CallbackService {
 public:
  explicit EmptyService(const FloorServer& server) : server_(server) {}

  grpc::ServerUnaryReactor* SendToAccount(
      grpc::CallbackServerContext* context,
      const v1::SendToAccountRequest* request,
      v1::SendToAccountResponse* response) override {
    SendToAny(*request, *response);
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  // Nothing at all.
  grpc::ServerUnaryReactor* GetBrokerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetBrokerInfoRequest*,
                                          v1::GetBrokerInfoResponse*) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerBidiReactor<v1::PublishRequest, v1::PublishResponse>* Publish(
      grpc::CallbackServerContext*) override {
    return new Stream(*this);
  }

 private:
  // One request after another: there is nothing to wait for.
  class Stream final : public grpc::ServerBidiReactor<v1::PublishRequest,
                                                      v1::PublishResponse> {
   public:
    explicit Stream(EmptyService& service) : service_(service) {
      StartRead(&request_);
    }
    void OnReadDone(bool ok) override {
      if (!ok) return Finish(grpc::Status::OK);
      response_.Clear();
      for (const v1::PublishItem& item : request_.items()) {
        service_.SendToAny(item.send_to_account(),
                           *response_.add_results()->mutable_send_to_account());
      }
      StartWrite(&response_);
    }
    void OnWriteDone(bool ok) override {
      if (!ok) return Finish(grpc::Status::CANCELLED);
      StartRead(&request_);
    }
    void OnDone() override { delete this; }

   private:
    EmptyService& service_;
    v1::PublishRequest request_;
    v1::PublishResponse response_;
  };

  void SendToAny(const v1::SendToAccountRequest& request,
                 v1::SendToAccountResponse& response) {
    const size_t clients = server_.size();
    if (clients == 0) return;
    std::string frame;
    AppendServerFrame(kBinary, request.message().binary(), &frame);
    response.set_matched(1);
    response.set_queued(server_.SendBare(Draw() % clients, frame));
  }

  uint64_t Draw() { return next_.fetch_add(1) * 2'654'435'761u; }

  const FloorServer& server_;
  std::atomic<uint64_t> next_ = 0;
};

int Main() {
  RaiseDescriptorLimit();
  FloorServer server;
  CommandInput input;
  EmptyService service(server);
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> grpc = builder.BuildAndStart();
  if (grpc == nullptr) Die("grpc");
  Answer()
      .Add("port", uint64_t{server.port()})
      .Add("control", "127.0.0.1:" + std::to_string(port))
      .Send();
  server.WakeOn(input.fd());
  while (input.Read()) server.Poll(-1);
  grpc->Shutdown(std::chrono::system_clock::now());
  return 0;
}

}  // namespace
}  // namespace bench

int main() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  return bench::Main();
}
