// One function per RPC: checks the request, asks the hub, fills the response.
// What each means is said in protos/socketbroker/v1/socket_broker.proto.
//
// Each does what it does within the reach of the caller, whose roles have been
// checked.
//
// Thread-safe, and none blocks. Request and caller live until `done` has been
// called.

#pragma once

#include <string>

#include "broker/hub/hub.h"
#include "broker/rpc/callers.h"
#include "socketbroker/v1/socket_broker.pb.h"

namespace broker {

// What the hub does not know of the broker that it is in.
struct BrokerFacts {
  std::string version;
  std::string websocket_address;
  bool websocket_tls = false;
  bool durable_revocations = false;
  std::string admin_address;
  std::string control_address;  // written before the server serves
};

namespace control {

namespace v1 = ::socketbroker::v1;

// binding.cc
void AddConnection(Hub& hub, const Caller& caller,
                   const v1::AddConnectionRequest& request,
                   Done<v1::AddConnectionResponse> done);
// A repeat of a call that was answered before: held against the fences again.
void RepeatAddConnection(Hub& hub, const Caller& caller,
                         const v1::AddConnectionRequest& request,
                         v1::AddConnectionResponse answer,
                         Done<v1::AddConnectionResponse> done);
void AdmitConnection(Hub& hub, const Caller& caller,
                     const v1::AdmitConnectionRequest& request,
                     Done<v1::AdmitConnectionResponse> done);
void RemoveConnection(Hub& hub, const Caller& caller,
                      const v1::RemoveConnectionRequest& request,
                      Done<v1::RemoveConnectionResponse> done);
void CreateTicket(Hub& hub, const Caller& caller,
                  const v1::CreateTicketRequest& request,
                  Done<v1::CreateTicketResponse> done);

// updating.cc
void UpdateConnection(Hub& hub, const Caller& caller,
                      const v1::UpdateConnectionRequest& request,
                      Done<v1::UpdateConnectionResponse> done);
void UpdateConnectionsFiltered(
    Hub& hub, const Caller& caller,
    const v1::UpdateConnectionsFilteredRequest& request,
    Done<v1::UpdateConnectionsFilteredResponse> done);

// revoking.cc
void CloseSocketsForSession(Hub& hub, const Caller& caller,
                            const v1::CloseSocketsForSessionRequest& request,
                            Done<v1::CloseSocketsForSessionResponse> done);
void CloseSocketsForAccount(Hub& hub, const Caller& caller,
                            const v1::CloseSocketsForAccountRequest& request,
                            Done<v1::CloseSocketsForAccountResponse> done);
void CloseSocketsForToken(Hub& hub, const Caller& caller,
                          const v1::CloseSocketsForTokenRequest& request,
                          Done<v1::CloseSocketsForTokenResponse> done);
void CloseSocketsFiltered(Hub& hub, const Caller& caller,
                          const v1::CloseSocketsFilteredRequest& request,
                          Done<v1::CloseSocketsFilteredResponse> done);
void ListRevocations(Hub& hub, const Caller& caller,
                     const v1::ListRevocationsRequest& request,
                     Done<v1::ListRevocationsResponse> done);
void LiftRevocation(Hub& hub, const Caller& caller,
                    const v1::LiftRevocationRequest& request,
                    Done<v1::LiftRevocationResponse> done);

// delivery.cc
void Send(Hub& hub, const Caller& caller, const v1::SendRequest& request,
          Done<v1::SendResponse> done);
void SendToConnection(Hub& hub, const Caller& caller,
                      const v1::SendToConnectionRequest& request,
                      Done<v1::SendToConnectionResponse> done);
void SendToAccount(Hub& hub, const Caller& caller,
                   const v1::SendToAccountRequest& request,
                   Done<v1::SendToAccountResponse> done);
void BroadcastFiltered(Hub& hub, const Caller& caller,
                       const v1::BroadcastFilteredRequest& request,
                       Done<v1::BroadcastFilteredResponse> done);

// looking.cc
void GetConnection(Hub& hub, const Caller& caller,
                   const v1::GetConnectionRequest& request,
                   Done<v1::GetConnectionResponse> done);
void ListConnections(Hub& hub, const Caller& caller,
                     const v1::ListConnectionsRequest& request,
                     Done<v1::ListConnectionsResponse> done);
void CountConnections(Hub& hub, const Caller& caller,
                      const v1::CountConnectionsRequest& request,
                      Done<v1::CountConnectionsResponse> done);

// info.cc
void GetBrokerInfo(Hub& hub, const Caller& caller, const BrokerFacts& facts,
                   Done<v1::GetBrokerInfoResponse> done);

}  // namespace control
}  // namespace broker
