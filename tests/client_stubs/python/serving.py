"""What clients say, and a service that answers it."""

import socketbroker
from socketbroker.v1 import conversation_pb2


def request(id, method="m", params=b""):
    call = conversation_pb2.JsonRpcCall(method=method, params_json=params)
    return conversation_pb2.ClientMessage(message_id=id, request=call, connection_id="c1")


def notification(id, method="m", params=b""):
    call = conversation_pb2.JsonRpcCall(method=method, params_json=params)
    return conversation_pb2.ClientMessage(message_id=id, notification=call, connection_id="c1")


def echo(client, **options):
    service = socketbroker.Service(client, **options)
    service.on("*", lambda params, context: params)
    return service
