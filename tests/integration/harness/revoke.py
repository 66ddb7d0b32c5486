"""The revoking calls, short."""

from socketbroker.v1 import socket_broker_pb2 as pb


def close_session(broker, token_hash, **fields):
    return broker.client.close_sockets_for_session(
        pb.CloseSocketsForSessionRequest(token_hash=token_hash, **fields))


def close_account(broker, account_id, **fields):
    return broker.client.close_sockets_for_account(
        pb.CloseSocketsForAccountRequest(account_id=account_id, **fields))


def close_token(broker, api_token_id, **fields):
    return broker.client.close_sockets_for_token(
        pb.CloseSocketsForTokenRequest(api_token_id=api_token_id, **fields))


def close_filtered(broker, filter=None, fence_ttl=None, **fields):
    request = pb.CloseSocketsFilteredRequest(filter=filter, **fields)
    if fence_ttl is not None:
        request.fence_ttl.FromMilliseconds(int(fence_ttl * 1000))
    return broker.client.close_sockets_filtered(request)


def revocations(broker):
    return list(broker.client.list_revocations(pb.ListRevocationsRequest()).revocations)
