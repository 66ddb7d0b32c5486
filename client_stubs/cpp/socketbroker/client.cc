// One method per RPC over Call, and the rule of epochs in CallVerified.

#include "socketbroker/client.h"

#include <grpcpp/create_channel.h>

#include <fstream>
#include <ios>
#include <sstream>
#include <utility>

namespace socketbroker {
namespace {

// Whether the binding may succeed with the epoch that is now.
bool IsEpochOutdated(const grpc::Status& status) {
  const std::string reason = GetErrorDetails(status).reason;
  return reason == "CREDENTIAL_REVOKED" || reason == "EPOCH_TOO_OLD" ||
         reason == "EPOCH_AHEAD";
}

bool ReadFile(const std::string& file, std::string* text, std::string* error) {
  if (file.empty()) return true;
  std::ifstream in(file, std::ios::binary);
  std::ostringstream content;
  if (in) content << in.rdbuf();
  *text = content.str();
  if (in && !text->empty()) return true;
  *error = file + " cannot be read, or is empty";
  return false;
}

}  // namespace

std::shared_ptr<grpc::ChannelCredentials> TlsFromFiles(const TlsFiles& files,
                                                       std::string* error) {
  if (files.certificate.empty() != files.private_key.empty()) {
    *error = "a certificate and its private key go together";
    return nullptr;
  }
  grpc::SslCredentialsOptions options;
  if (!ReadFile(files.ca, &options.pem_root_certs, error) ||
      !ReadFile(files.certificate, &options.pem_cert_chain, error) ||
      !ReadFile(files.private_key, &options.pem_private_key, error)) {
    return nullptr;
  }
  return grpc::SslCredentials(options);
}

namespace {

std::shared_ptr<grpc::Channel> Connect(const std::string& target,
                                       const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  // So that a stream on which nothing happens notices that the broker's machine
  // is gone; and who waits for a broker that starts again, that it is back.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // Else it stops after two pings, until there is something to say.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  // The answer of Publish can have more than the 4 MiB that gRPC takes. The
  // broker bounds what it says.
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(target,
                                   options.credentials != nullptr
                                       ? options.credentials
                                       : grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace

Client::Client(const std::string& target, ClientOptions options)
    : options_(std::move(options)),
      stub_(v1::SocketBroker::NewStub(Connect(target, options_))) {}

void Client::Prepare(const CallOptions& options,
                     grpc::ClientContext* context) const {
  context->set_wait_for_ready(options_.wait_for_ready);
  if (options.deadline) {
    context->set_deadline(std::chrono::system_clock::now() + *options.deadline);
  }
  if (!options_.api_key.empty()) {
    context->AddMetadata("authorization", "Bearer " + options_.api_key);
  }
  if (options_.prepare) options_.prepare(*context);
}

grpc::Status Client::ReadEpoch(const CallOptions& options, uint64_t* epoch) {
  v1::GetBrokerInfoResponse response;
  const grpc::Status status = GetBrokerInfo({}, &response, options);
  *epoch = response.epoch();
  return status;
}

template <typename Request, typename Response>
grpc::Status Client::Call(grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                       const Request&,
                                                       Response*),
                          const Request& request, Response* response,
                          const CallOptions& options) {
  grpc::ClientContext context;
  Prepare({options.deadline.value_or(options_.deadline)}, &context);
  grpc::Status status = (stub_.get()->*method)(&context, request, response);
  if constexpr (requires { response->epoch(); }) {
    // Also a lower one, which is safe: the broker may be another one.
    if (status.ok() && response->epoch() != 0) {
      newest_epoch_ = response->epoch();
    }
  }
  return status;
}

template <typename Request, typename Response>
grpc::Status Client::CallVerified(
    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                 Response*),
    Request request, const Verify& verify, Response* response,
    const CallOptions& options) {
  const v1::Identity identity = request.identity();
  grpc::Status status;
  uint64_t epoch = newest_epoch_;
  if (epoch == 0) status = ReadEpoch(options, &epoch);
  for (int tries = 1; status.ok(); ++tries) {
    // Before the look-up: a revocation that comes later is then newer.
    request.set_verified_at_epoch(epoch);
    *request.mutable_identity() = identity;
    status = verify(request.mutable_identity());
    if (!status.ok()) break;
    status = Call(method, request, response, options);
    if (tries == 2 || !IsEpochOutdated(status)) break;
    status = ReadEpoch(options, &epoch);
  }
  return status;
}

std::unique_ptr<PublishStream> Client::Publish(const CallOptions& options) {
  std::unique_ptr<PublishStream> stream(new PublishStream());
  Prepare(options, &stream->context_);
  stream->stream_ = stub_->Publish(&stream->context_);
  return stream;
}

std::unique_ptr<AttachStream> Client::Attach(const CallOptions& options) {
  std::unique_ptr<AttachStream> stream(new AttachStream());
  Prepare(options, &stream->context_);
  // With the start, so that it is the first Write that waits for the
  // connection: that can be cancelled.
  stream->context_.set_initial_metadata_corked(true);
  stream->stream_ = stub_->Attach(&stream->context_);
  return stream;
}

std::unique_ptr<ClientReplies> Client::RequestFiltered(
    const v1::RequestFilteredRequest& request, const CallOptions& options) {
  std::unique_ptr<ClientReplies> replies(new ClientReplies());
  Prepare(options, &replies->context_);
  replies->reader_ = stub_->RequestFiltered(&replies->context_, request);
  return replies;
}

grpc::Status Client::RequestConnection(
    const v1::RequestConnectionRequest& request,
    v1::RequestConnectionResponse* response, const CallOptions& options) {
  return Call(&Stub::RequestConnection, request, response, options);
}

std::unique_ptr<ConnectionWatch> Client::WatchConnections(
    const v1::WatchConnectionsRequest& request, const CallOptions& options) {
  std::unique_ptr<ConnectionWatch> watch(new ConnectionWatch());
  Prepare(options, &watch->context_);
  watch->reader_ = stub_->WatchConnections(&watch->context_, request);
  return watch;
}

grpc::Status Client::CreateTicketVerified(
    const v1::CreateTicketRequest& request, const Verify& verify,
    v1::CreateTicketResponse* response, const CallOptions& options) {
  return CallVerified(&Stub::CreateTicket, request, verify, response, options);
}

grpc::Status Client::AddConnectionVerified(
    const v1::AddConnectionRequest& request, const Verify& verify,
    v1::AddConnectionResponse* response, const CallOptions& options) {
  return CallVerified(&Stub::AddConnection, request, verify, response, options);
}

grpc::Status Client::AddConnection(const v1::AddConnectionRequest& request,
                                   v1::AddConnectionResponse* response,
                                   const CallOptions& options) {
  return Call(&Stub::AddConnection, request, response, options);
}

grpc::Status Client::AdmitConnection(const v1::AdmitConnectionRequest& request,
                                     v1::AdmitConnectionResponse* response,
                                     const CallOptions& options) {
  return Call(&Stub::AdmitConnection, request, response, options);
}

grpc::Status Client::UpdateConnection(
    const v1::UpdateConnectionRequest& request,
    v1::UpdateConnectionResponse* response, const CallOptions& options) {
  return Call(&Stub::UpdateConnection, request, response, options);
}

grpc::Status Client::UpdateConnectionsFiltered(
    const v1::UpdateConnectionsFilteredRequest& request,
    v1::UpdateConnectionsFilteredResponse* response,
    const CallOptions& options) {
  return Call(&Stub::UpdateConnectionsFiltered, request, response, options);
}

grpc::Status Client::RemoveConnection(
    const v1::RemoveConnectionRequest& request,
    v1::RemoveConnectionResponse* response, const CallOptions& options) {
  return Call(&Stub::RemoveConnection, request, response, options);
}

grpc::Status Client::CreateTicket(const v1::CreateTicketRequest& request,
                                  v1::CreateTicketResponse* response,
                                  const CallOptions& options) {
  return Call(&Stub::CreateTicket, request, response, options);
}

grpc::Status Client::CloseSocketsForSession(
    const v1::CloseSocketsForSessionRequest& request,
    v1::CloseSocketsForSessionResponse* response, const CallOptions& options) {
  return Call(&Stub::CloseSocketsForSession, request, response, options);
}

grpc::Status Client::CloseSocketsForAccount(
    const v1::CloseSocketsForAccountRequest& request,
    v1::CloseSocketsForAccountResponse* response, const CallOptions& options) {
  return Call(&Stub::CloseSocketsForAccount, request, response, options);
}

grpc::Status Client::CloseSocketsForToken(
    const v1::CloseSocketsForTokenRequest& request,
    v1::CloseSocketsForTokenResponse* response, const CallOptions& options) {
  return Call(&Stub::CloseSocketsForToken, request, response, options);
}

grpc::Status Client::CloseSocketsFiltered(
    const v1::CloseSocketsFilteredRequest& request,
    v1::CloseSocketsFilteredResponse* response, const CallOptions& options) {
  return Call(&Stub::CloseSocketsFiltered, request, response, options);
}

grpc::Status Client::ListRevocations(const v1::ListRevocationsRequest& request,
                                     v1::ListRevocationsResponse* response,
                                     const CallOptions& options) {
  return Call(&Stub::ListRevocations, request, response, options);
}

grpc::Status Client::LiftRevocation(const v1::LiftRevocationRequest& request,
                                    v1::LiftRevocationResponse* response,
                                    const CallOptions& options) {
  return Call(&Stub::LiftRevocation, request, response, options);
}

grpc::Status Client::Send(const v1::SendRequest& request,
                          v1::SendResponse* response,
                          const CallOptions& options) {
  return Call(&Stub::Send, request, response, options);
}

grpc::Status Client::SendToConnection(
    const v1::SendToConnectionRequest& request,
    v1::SendToConnectionResponse* response, const CallOptions& options) {
  return Call(&Stub::SendToConnection, request, response, options);
}

grpc::Status Client::SendToAccount(const v1::SendToAccountRequest& request,
                                   v1::SendToAccountResponse* response,
                                   const CallOptions& options) {
  return Call(&Stub::SendToAccount, request, response, options);
}

grpc::Status Client::BroadcastFiltered(
    const v1::BroadcastFilteredRequest& request,
    v1::BroadcastFilteredResponse* response, const CallOptions& options) {
  return Call(&Stub::BroadcastFiltered, request, response, options);
}

grpc::Status Client::GetConnection(const v1::GetConnectionRequest& request,
                                   v1::GetConnectionResponse* response,
                                   const CallOptions& options) {
  return Call(&Stub::GetConnection, request, response, options);
}

grpc::Status Client::ListConnections(const v1::ListConnectionsRequest& request,
                                     v1::ListConnectionsResponse* response,
                                     const CallOptions& options) {
  return Call(&Stub::ListConnections, request, response, options);
}

grpc::Status Client::CountConnections(
    const v1::CountConnectionsRequest& request,
    v1::CountConnectionsResponse* response, const CallOptions& options) {
  return Call(&Stub::CountConnections, request, response, options);
}

grpc::Status Client::GetBrokerInfo(const v1::GetBrokerInfoRequest& request,
                                   v1::GetBrokerInfoResponse* response,
                                   const CallOptions& options) {
  return Call(&Stub::GetBrokerInfo, request, response, options);
}

}  // namespace socketbroker
