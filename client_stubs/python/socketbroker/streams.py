"""The streams of the API, as iterators that a caller can end."""

from typing import Optional, Protocol

import grpc

from socketbroker import error as _error
from socketbroker.v1 import attach_pb2
from socketbroker.v1 import conversation_pb2
from socketbroker.v1 import message_pb2


class _Responses:
    """What the broker says on a stream: iterate over it.

    It ends with BrokerError when the broker ends it with an error, and silently
    after `cancel`, which any thread may call. A `with` block cancels at its end.
    """

    def __init__(self, call):
        self._call = call
        self._cancelled = False

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return next(self._call)
        except grpc.RpcError as error:
            if self._cancelled:
                raise StopIteration from None
            raise _error.from_rpc_error(error) from error

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Ends the stream. What was said on it may be done or not."""
        self._cancelled = True
        self._call.cancel()


class ConnectionWatch(_Responses):
    """The responses of WatchConnections."""


class ClientReplies(_Responses):
    """The responses of RequestFiltered."""


class Requests(Protocol):
    """Where the requests of a stream come from, such as a queue.SimpleQueue."""

    def put(self, item: Optional[attach_pb2.AttachRequest]) -> None:
        """None: there are no more."""

    def get(self) -> Optional[attach_pb2.AttachRequest]:
        """Waits for the next."""


class AttachStream(_Responses):
    """A service's side of Attach: what the broker tells, and what it is told.

    Every method may be called by any thread.
    """

    def __init__(self, call, requests: Requests):
        super().__init__(call)
        self._requests = requests
        # gRPC waits for the next request until there are no more.
        if not call.add_callback(lambda: requests.put(None)):
            requests.put(None)  # it is over already

    def credit(self, *, handshakes: int = 0, events: int = 0, messages: int = 0) -> None:
        """Lets the broker tell so much more."""
        self._requests.put(attach_pb2.AttachRequest(
            credit=attach_pb2.AttachCredit(handshakes=handshakes, events=events, messages=messages)))

    def refuse(self, offer_id: int, reason: str = "") -> None:
        """Refuses a client that was offered. To admit it: `Client.add_connection`."""
        self._requests.put(attach_pb2.AttachRequest(
            refuse_handshake=attach_pb2.RefuseHandshake(offer_id=offer_id, reason=reason)))

    def reply(self, reply: conversation_pb2.Reply) -> None:
        """Replies to a client's request."""
        self._requests.put(attach_pb2.AttachRequest(reply=reply))

    def send(self, connection_id: str, message: message_pb2.Message, *, report: int = 0) -> None:
        """Sends to one connection, behind what was sent and replied before."""
        self._requests.put(attach_pb2.AttachRequest(
            send=conversation_pb2.ClientSend(connection_id=connection_id, message=message, report=report)))

    def drain(self) -> None:
        """Takes no more messages: the stream ends when those it has are replied to."""
        self._requests.put(attach_pb2.AttachRequest(drain=attach_pb2.AttachDrain()))

    def half_close(self) -> None:
        """Says that no more will be said; the broker tells on, but no messages."""
        self._requests.put(None)
