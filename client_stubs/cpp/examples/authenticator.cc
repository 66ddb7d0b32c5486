// An application that the broker asks about handshakes: the way CALLOUT.
//
//   authenticator_example sessions.txt 50061 [key-file]
//
// A client is known by its cookie "session". Each line of sessions.txt is a
// session: the cookie's value, its account and, if it has one, its plan. A real
// application asks its database instead, in the call and not from a cache.

#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include "socketbroker/v1/connect_authenticator.grpc.pb.h"

namespace {

namespace v1 = ::socketbroker::v1;

struct Session {
  std::string cookie, account, plan;
};

class Authenticator final : public v1::ConnectAuthenticator::Service {
 public:
  Authenticator(std::string sessions_file, std::string key)
      : sessions_file_(std::move(sessions_file)), key_(std::move(key)) {}

  grpc::Status Authenticate(grpc::ServerContext* context,
                            const v1::AuthenticateRequest* request,
                            v1::AuthenticateResponse* response) override {
    if (!IsBroker(*context)) {
      return {grpc::StatusCode::UNAUTHENTICATED, "this is for the broker"};
    }
    const std::optional<Session> session = Find(request->handshake());
    if (!session) {
      response->mutable_refusal()->set_http_status(401);
      response->mutable_refusal()->set_reason("log in first");
      return grpc::Status::OK;
    }
    v1::Identity& identity = *response->mutable_identity();
    identity.set_account_id(session->account);
    // The broker must never know the session itself: a real application gives
    // a cryptographic hash of it here.
    identity.set_token_hash(
        std::to_string(std::hash<std::string>()(session->cookie)));
    if (!session->plan.empty()) {
      (*identity.mutable_labels())["plan"] = session->plan;
    }
    return grpc::Status::OK;
  }

 private:
  bool IsBroker(const grpc::ServerContext& context) const {
    if (key_.empty()) return true;
    const auto shown = context.client_metadata().find("authorization");
    return shown != context.client_metadata().end() &&
           shown->second == "Bearer " + key_;
  }

  std::optional<Session> Find(const v1::Handshake& handshake) const {
    std::optional<std::string> cookie;
    for (const v1::HandshakeCookie& c : handshake.cookies()) {
      if (c.name() != "session") continue;
      if (cookie) return std::nullopt;  // Somebody may have planted one.
      cookie = c.value();
    }
    std::ifstream sessions(sessions_file_);
    for (std::string line; cookie && std::getline(sessions, line);) {
      Session session;
      std::istringstream(line) >> session.cookie >> session.account >>
          session.plan;
      if (session.cookie == *cookie && !session.account.empty()) return session;
    }
    return std::nullopt;
  }

  const std::string sessions_file_;
  const std::string key_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s sessions.txt port [key-file]\n", argv[0]);
    return 2;
  }
  std::string key;
  if (argc > 3) {
    std::ifstream(argv[3]) >> key;
    if (key.empty()) {  // Without one it would answer to anybody.
      std::fprintf(stderr, "%s cannot be read, or is empty\n", argv[3]);
      return 1;
    }
  }
  Authenticator authenticator(argv[1], key);
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(std::string("127.0.0.1:") + argv[2],
                           grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&authenticator);
  const auto server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    std::fprintf(stderr, "cannot listen on 127.0.0.1:%s\n", argv[2]);
    return 1;
  }
  std::printf("listening on 127.0.0.1:%d\n", port);
  std::fflush(stdout);
  server->Wait();
}
