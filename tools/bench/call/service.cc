// bench_service TARGET [NAMESPACE]: an attached service that replies to every
// request with what a program has ready: no work of its own. A namespace is one
// with framing RAW, whose messages it takes and drops.
//
// It says {"ready":1} once it is attached, and ends with its input.

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <sys/prctl.h>

#include <csignal>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <queue>
#include <string>

#include "socketbroker/v1/socket_broker.grpc.pb.h"
#include "tools/bench/common/commands.h"
#include "tools/bench/common/net.h"

namespace bench {
namespace {

namespace v1 = socketbroker::v1;

// Given back when half of it is used, as the stubs do.
constexpr uint32_t kCredit = 10'000;

class Service final
    : public grpc::ClientBidiReactor<v1::AttachRequest, v1::AttachResponse> {
 public:
  Service(v1::SocketBroker::StubInterface* stub, const std::string& ns) {
    v1::AttachRequest start;
    v1::AttachMessages* messages = start.mutable_start()->mutable_messages();
    if (ns.empty()) {
      messages->add_methods("*");
    } else {
      start.mutable_start()->set_namespace_(ns);
    }
    start.mutable_start()->mutable_credit()->set_messages(kCredit);
    stub->async()->Attach(&context_, this);
    StartCall();
    Say(std::move(start));
    StartRead(&told_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (told_.has_started()) {
      Answer().Add("ready", uint64_t{1}).Send();
    } else if (told_.client_message().has_request()) {
      v1::AttachRequest reply;
      reply.mutable_reply()->set_message_id(
          told_.client_message().message_id());
      reply.mutable_reply()->set_result_json(
          told_.client_message().request().params_json());
      Say(std::move(reply));
      if (++used_ == kCredit / 2) {
        v1::AttachRequest credit;
        credit.mutable_credit()->set_messages(std::exchange(used_, 0));
        Say(std::move(credit));
      }
    }
    StartRead(&told_);
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return;
    const std::lock_guard lock(mu_);
    unsaid_.pop();
    if (!unsaid_.empty()) StartWrite(&unsaid_.front());
  }

  void OnDone(const grpc::Status& status) override {
    std::fprintf(stderr, "the stream ended: %s\n",
                 status.error_message().c_str());
    std::_Exit(1);
  }

 private:
  void Say(v1::AttachRequest request) {
    const std::lock_guard lock(mu_);
    unsaid_.push(std::move(request));
    if (unsaid_.size() == 1) StartWrite(&unsaid_.front());
  }

  grpc::ClientContext context_;
  v1::AttachResponse told_;
  uint32_t used_ = 0;
  std::mutex mu_;
  std::queue<v1::AttachRequest> unsaid_;  // the first is being written
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) {
    std::fputs("bench_service TARGET [NAMESPACE]\n", stderr);
    return 2;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const auto stub = bench::v1::SocketBroker::NewStub(
      grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials()));
  bench::Service service(stub.get(), argc == 3 ? argv[2] : "");
  for (std::string line; std::getline(std::cin, line);) {
  }
  std::_Exit(0);
}
