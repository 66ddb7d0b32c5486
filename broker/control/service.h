// The gRPC service SocketBroker: asks who calls, hands the call to its
// handler, remembers answers by request_id, counts, audits. Thread-safe.

#pragma once

#include "broker/control/handlers.h"
#include "broker/hub/hub.h"
#include "broker/rpc/access.h"
#include "broker/rpc/rpc_stats.h"
#include "socketbroker/v1/socket_broker.grpc.pb.h"

namespace broker {

class SocketBrokerService final
    : public socketbroker::v1::SocketBroker::CallbackService {
 public:
  // The facts may be read as soon as the server serves.
  SocketBrokerService(Hub& hub, const Access& access, RpcStats& stats,
                      const BrokerFacts& facts)
      : hub_(hub), access_(access), stats_(stats), facts_(facts) {}

// One override for each unary RPC.
#define BROKER_UNARY(Method)                            \
  grpc::ServerUnaryReactor* Method(                     \
      grpc::CallbackServerContext* context,             \
      const socketbroker::v1::Method##Request* request, \
      socketbroker::v1::Method##Response* response) override
  BROKER_UNARY(AddConnection);
  BROKER_UNARY(AdmitConnection);
  BROKER_UNARY(UpdateConnection);
  BROKER_UNARY(UpdateConnectionsFiltered);
  BROKER_UNARY(RemoveConnection);
  BROKER_UNARY(CreateTicket);
  BROKER_UNARY(CloseSocketsForSession);
  BROKER_UNARY(CloseSocketsForAccount);
  BROKER_UNARY(CloseSocketsForToken);
  BROKER_UNARY(CloseSocketsFiltered);
  BROKER_UNARY(ListRevocations);
  BROKER_UNARY(LiftRevocation);
  BROKER_UNARY(Send);
  BROKER_UNARY(SendToConnection);
  BROKER_UNARY(SendToAccount);
  BROKER_UNARY(BroadcastFiltered);
  BROKER_UNARY(GetConnection);
  BROKER_UNARY(ListConnections);
  BROKER_UNARY(CountConnections);
  BROKER_UNARY(GetBrokerInfo);
  BROKER_UNARY(RequestConnection);
#undef BROKER_UNARY

  grpc::ServerWriteReactor<socketbroker::v1::WatchConnectionsResponse>*
  WatchConnections(
      grpc::CallbackServerContext* context,
      const socketbroker::v1::WatchConnectionsRequest* request) override;
  grpc::ServerWriteReactor<socketbroker::v1::RequestFilteredResponse>*
  RequestFiltered(
      grpc::CallbackServerContext* context,
      const socketbroker::v1::RequestFilteredRequest* request) override;
  grpc::ServerBidiReactor<socketbroker::v1::PublishRequest,
                          socketbroker::v1::PublishResponse>*
  Publish(grpc::CallbackServerContext* context) override;
  grpc::ServerBidiReactor<socketbroker::v1::AttachRequest,
                          socketbroker::v1::AttachResponse>*
  Attach(grpc::CallbackServerContext* context) override;

 private:
  Hub& hub_;
  const Access& access_;
  RpcStats& stats_;
  const BrokerFacts& facts_;
};

}  // namespace broker
