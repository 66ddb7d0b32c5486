// Client: the gRPC API of socket-broker, with what every caller would otherwise
// write again: a deadline on each call, waiting for the connection, and the
// epochs that make a binding safe against a revocation that comes meanwhile.
//
// Thread-safe: one client serves a whole program.
//
//   socketbroker::Client client("127.0.0.1:50051");
//   socketbroker::v1::CloseSocketsForSessionRequest request;
//   request.set_token_hash(hash);
//   socketbroker::v1::CloseSocketsForSessionResponse response;
//   grpc::Status status = client.CloseSocketsForSession(request, &response);

#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "socketbroker/error.h"
#include "socketbroker/streams.h"
#include "socketbroker/v1/socket_broker.grpc.pb.h"
#include "socketbroker/v1/socket_broker.pb.h"

namespace socketbroker {

struct ClientOptions {
  // How long a call may take, the wait for the connection included. A watch has
  // none.
  std::chrono::milliseconds deadline = std::chrono::seconds(10);
  // A call waits for the connection until its deadline, and fails then with
  // DEADLINE_EXCEEDED. Off: it fails with UNAVAILABLE as soon as an attempt to
  // connect has failed.
  bool wait_for_ready = true;
  // How to connect, such as TlsFromFiles(). Null: in plain text, which is for
  // the loopback interface and Unix-domain sockets.
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  // Sent with every call: without TLS in plain text. Empty: none.
  std::string api_key;
  // Called for every call before it starts, from the thread that makes it: the
  // place to add something to the metadata. May be null.
  std::function<void(grpc::ClientContext&)> prepare;
};

// PEM files; each may be empty.
struct TlsFiles {
  // The authorities that the broker's certificate must come from. Empty: those
  // that the system trusts.
  std::string ca;
  // What the caller proves itself with, where the broker asks for it (mTLS).
  // Both or none.
  std::string certificate;
  std::string private_key;
};

// For ClientOptions. Null when a file cannot be read; `error` says which.
std::shared_ptr<grpc::ChannelCredentials> TlsFromFiles(const TlsFiles& files,
                                                       std::string* error);

// What one call does differently.
struct CallOptions {
  // Instead of ClientOptions::deadline.
  std::optional<std::chrono::milliseconds> deadline;
};

// Looks up the credential that somebody presented, and fills in whom it belongs
// to; the identity comes as it is in the request. Not OK: the credential does
// not stand, or could not be looked up; nothing is bound, and the caller gets
// this status. It runs once or twice, and must not answer from a cache or from
// a replica that lags behind.
using Verify = std::function<grpc::Status(v1::Identity*)>;

class Client {
 public:
  // `target` is what gRPC takes: "127.0.0.1:50051", "dns:///broker:50051",
  // "unix:/run/socket-broker.sock". Does not connect yet.
  explicit Client(const std::string& target, ClientOptions options = {});

  // The RPCs: what each does is said in socketbroker/v1/socket_broker.proto.
  // What an error carries beside its code: see GetErrorDetails in error.h.

  grpc::Status AddConnection(const v1::AddConnectionRequest& request,
                             v1::AddConnectionResponse* response,
                             const CallOptions& options = {});
  grpc::Status AdmitConnection(const v1::AdmitConnectionRequest& request,
                               v1::AdmitConnectionResponse* response,
                               const CallOptions& options = {});
  grpc::Status UpdateConnection(const v1::UpdateConnectionRequest& request,
                                v1::UpdateConnectionResponse* response,
                                const CallOptions& options = {});
  grpc::Status UpdateConnectionsFiltered(
      const v1::UpdateConnectionsFilteredRequest& request,
      v1::UpdateConnectionsFilteredResponse* response,
      const CallOptions& options = {});
  grpc::Status RemoveConnection(const v1::RemoveConnectionRequest& request,
                                v1::RemoveConnectionResponse* response,
                                const CallOptions& options = {});
  grpc::Status CreateTicket(const v1::CreateTicketRequest& request,
                            v1::CreateTicketResponse* response,
                            const CallOptions& options = {});

  grpc::Status CloseSocketsForSession(
      const v1::CloseSocketsForSessionRequest& request,
      v1::CloseSocketsForSessionResponse* response,
      const CallOptions& options = {});
  grpc::Status CloseSocketsForAccount(
      const v1::CloseSocketsForAccountRequest& request,
      v1::CloseSocketsForAccountResponse* response,
      const CallOptions& options = {});
  grpc::Status CloseSocketsForToken(
      const v1::CloseSocketsForTokenRequest& request,
      v1::CloseSocketsForTokenResponse* response,
      const CallOptions& options = {});
  grpc::Status CloseSocketsFiltered(
      const v1::CloseSocketsFilteredRequest& request,
      v1::CloseSocketsFilteredResponse* response,
      const CallOptions& options = {});
  grpc::Status ListRevocations(const v1::ListRevocationsRequest& request,
                               v1::ListRevocationsResponse* response,
                               const CallOptions& options = {});
  grpc::Status LiftRevocation(const v1::LiftRevocationRequest& request,
                              v1::LiftRevocationResponse* response,
                              const CallOptions& options = {});

  grpc::Status Send(const v1::SendRequest& request, v1::SendResponse* response,
                    const CallOptions& options = {});
  grpc::Status SendToConnection(const v1::SendToConnectionRequest& request,
                                v1::SendToConnectionResponse* response,
                                const CallOptions& options = {});
  grpc::Status SendToAccount(const v1::SendToAccountRequest& request,
                             v1::SendToAccountResponse* response,
                             const CallOptions& options = {});
  grpc::Status BroadcastFiltered(const v1::BroadcastFilteredRequest& request,
                                 v1::BroadcastFilteredResponse* response,
                                 const CallOptions& options = {});
  // The client has its request's `timeout`, and no longer than the call's
  // deadline: for more than 10 s give both.
  grpc::Status RequestConnection(const v1::RequestConnectionRequest& request,
                                 v1::RequestConnectionResponse* response,
                                 const CallOptions& options = {});
  // A deadline, when given, ends the whole stream.
  std::unique_ptr<ClientReplies> RequestFiltered(
      const v1::RequestFilteredRequest& request,
      const CallOptions& options = {});

  // A deadline, when given, ends the whole stream.
  std::unique_ptr<PublishStream> Publish(const CallOptions& options = {});
  // The same. The first thing to write is a `start`.
  std::unique_ptr<AttachStream> Attach(const CallOptions& options = {});

  grpc::Status GetConnection(const v1::GetConnectionRequest& request,
                             v1::GetConnectionResponse* response,
                             const CallOptions& options = {});
  grpc::Status ListConnections(const v1::ListConnectionsRequest& request,
                               v1::ListConnectionsResponse* response,
                               const CallOptions& options = {});
  grpc::Status CountConnections(const v1::CountConnectionsRequest& request,
                                v1::CountConnectionsResponse* response,
                                const CallOptions& options = {});
  // A deadline, when given, ends the whole watch.
  std::unique_ptr<ConnectionWatch> WatchConnections(
      const v1::WatchConnectionsRequest& request,
      const CallOptions& options = {});
  grpc::Status GetBrokerInfo(const v1::GetBrokerInfoRequest& request,
                             v1::GetBrokerInfoResponse* response,
                             const CallOptions& options = {});

  // CreateTicket and AddConnection as one rule: the epoch is taken before
  // `verify` is called, so that a revocation that comes after the look-up
  // refuses the binding. When one has (CREDENTIAL_REVOKED), or the epoch is too
  // old for the broker to judge (EPOCH_TOO_OLD) or another broker's that was
  // here before (EPOCH_AHEAD), the epoch is read anew, `verify` called again,
  // and the call made once more. The options hold for each call by itself;
  // `verified_at_epoch` of the request is ignored.
  grpc::Status CreateTicketVerified(const v1::CreateTicketRequest& request,
                                    const Verify& verify,
                                    v1::CreateTicketResponse* response,
                                    const CallOptions& options = {});
  grpc::Status AddConnectionVerified(const v1::AddConnectionRequest& request,
                                     const Verify& verify,
                                     v1::AddConnectionResponse* response,
                                     const CallOptions& options = {});

  // The epoch of the newest answer that had one, 0 when there was none: fit as
  // a `verified_at_epoch` for a credential that is looked up from now on.
  uint64_t newest_epoch() const { return newest_epoch_; }

 private:
  using Stub = v1::SocketBroker::StubInterface;

  void Prepare(const CallOptions& options, grpc::ClientContext* context) const;
  grpc::Status ReadEpoch(const CallOptions& options, uint64_t* epoch);

  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                 const Request&, Response*),
                    const Request& request, Response* response,
                    const CallOptions& options);
  template <typename Request, typename Response>
  grpc::Status CallVerified(grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                         const Request&,
                                                         Response*),
                            Request request, const Verify& verify,
                            Response* response, const CallOptions& options);

  const ClientOptions options_;
  const std::unique_ptr<Stub> stub_;
  std::atomic<uint64_t> newest_epoch_ = 0;
};

}  // namespace socketbroker
