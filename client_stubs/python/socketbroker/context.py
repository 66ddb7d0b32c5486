"""Context: what a handler knows of a client's message, and what it can say meanwhile."""

import threading
from typing import Any, Union

from socketbroker.jsonrpc import check_method, check_size, encode_params
from socketbroker.outbox import Outbox
from socketbroker.v1 import attach_pb2
from socketbroker.v1 import connection_pb2
from socketbroker.v1 import conversation_pb2
from socketbroker.v1 import message_pb2


class Context:
    """One message of a client. Any thread may use it.

    Attributes:
      method: of the request or notification; empty with framing RAW.
      is_notification: nobody waits for a reply.
      connection_id: where it came from.
      identity: who that belongs to, as it was when the message came.
      endpoint: the configured path that the client connected to.
      remote_address, remote_port: the client's.
      sequence: counts the messages of this connection, from 1.
      traceparent: the W3C trace context that the client gave; empty without one.
      cancelled: is set when nobody waits for the reply any more: the client
        cancelled the request or is gone, the reply has taken too long, or the
        broker is lost. A handler that takes long looks at it, or waits on it
        instead of sleeping; what it still returns is dropped.
    """

    method: str
    is_notification: bool
    connection_id: str
    identity: connection_pb2.Identity
    endpoint: str
    remote_address: str
    remote_port: int
    sequence: int
    traceparent: str
    cancelled: threading.Event

    def __init__(self, message: conversation_pb2.ClientMessage, outbox: Outbox):
        kind = message.WhichOneof("content")
        self.method = getattr(message, kind).method if kind in ("request", "notification") else ""
        self.is_notification = kind == "notification"
        self.connection_id = message.connection_id
        self.identity = message.identity
        self.endpoint = message.endpoint
        self.remote_address = message.remote_address
        self.remote_port = message.remote_port
        self.sequence = message.sequence
        self.traceparent = message.traceparent
        self.cancelled = threading.Event()
        self._outbox = outbox

    def notify(self, method: str, params: Any = None) -> None:
        """Sends a notification to this connection. It arrives before the reply.

        Needs the role `send`. A client that is gone gets nothing, and nobody is
        told; nor does one get what is over the `max_message_bytes` of its
        endpoint, which the broker logs. Waits while the stream to the broker is
        full.

        Args:
          method: 1 to 256 bytes, and not `rpc.` and more.
          params: a dict or a list, or None for none; as JSON at most 3 MiB.

        Raises:
          ValueError, TypeError: no client may be sent this.
        """
        check_method(method)
        self._send(message_pb2.Message(notification=message_pb2.JsonRpcNotification(
            method=method, params_json=encode_params(params))))

    def send(self, message: Union[str, bytes, bytearray, memoryview]) -> None:
        """Sends a text or binary message to this connection, with framing RAW.

        In order, and under the conditions of `notify`. Binary is a bytes, bytearray
        or memoryview.
        """
        if isinstance(message, str):
            check_size(len(message.encode()))
            self._send(message_pb2.Message(text=message))
        elif isinstance(message, (bytes, bytearray, memoryview)):
            data = bytes(message)
            check_size(len(data))
            self._send(message_pb2.Message(binary=data))
        else:
            raise TypeError(f"a message must be a str or bytes, but is a {type(message).__name__}")

    def _send(self, message: message_pb2.Message) -> None:
        self._outbox.put_send(attach_pb2.AttachRequest(
            send=conversation_pb2.ClientSend(connection_id=self.connection_id, message=message)))
