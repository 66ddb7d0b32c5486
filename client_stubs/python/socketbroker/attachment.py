"""Attachment: one Attach stream of a Service, from its start to its end."""

import functools
import json
import logging
import threading
from typing import Any, Callable, Dict, Optional

import grpc

from socketbroker.client import Client
from socketbroker.context import Context
from socketbroker.error import BrokerError
from socketbroker.jsonrpc import RESULT_LEVELS, JsonRpcError, encode
from socketbroker.outbox import Outbox
from socketbroker.pools import Pools
from socketbroker.v1 import attach_pb2
from socketbroker.v1 import connection_pb2
from socketbroker.v1 import conversation_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

LOG = logging.getLogger("socketbroker")
_INTERNAL_ERROR = conversation_pb2.JsonRpcError(code=-32603, message="Internal error")
_MAX_REASON_BYTES = 123
# What a binding fails with in the course of events.
_EXPECTED = ("ALREADY_BOUND", "CREDENTIAL_REVOKED")

Handler = Callable[..., Any]


class Refusal(Exception):
    """What a handshake handler raises, or returns, to refuse a client.

    Attributes:
      reason: goes to the client in the close frame, with the code 4006: at most
        123 bytes. Empty: "Not admitted".
    """

    reason: str

    def __init__(self, reason: str = ""):
        super().__init__(reason)
        size = len(reason.encode())
        if size > _MAX_REASON_BYTES:
            raise ValueError(f"the reason has {size} bytes, at most {_MAX_REASON_BYTES} are allowed")
        self.reason = reason


class Handlers:
    """What a service has said that it does."""

    def __init__(self) -> None:
        self.methods: Dict[str, Handler] = {}
        self.message: Optional[Handler] = None
        self.handshake: Optional[Handler] = None
        # By the names of AttachResponse; and `started` and `events_lost`.
        self.events: Dict[str, Handler] = {}

    def find(self, method: str) -> Handler:
        """The handler with the most specific pattern, as the broker finds the service."""
        if method in self.methods and not method.endswith("*"):
            return self.methods[method]
        for size in range(len(method), -1, -1):
            handler = self.methods.get(method[:size] + "*")
            if handler is not None:
                return handler
        raise LookupError(f"no handler for the method {method!r}, which nobody asked for")


class Attachment:
    """Reads the stream, lets handlers run, and says what they answer."""

    def __init__(self, client: Client, handlers: Handlers, pools: Pools, start: attach_pb2.AttachStart):
        self.started = False
        self._client = client
        self._handlers = handlers
        self._pools = pools
        self._outbox = pools.begin(start)
        self._mutex = threading.RLock()
        self._open: Dict[int, Context] = {}
        # Waiting, since gRPC for Python connects only while somebody waits for it.
        self._stream = client._attach(self._outbox, wait_for_ready=True)

    def run(self) -> Optional[BrokerError]:
        """Returns when the stream has ended: with the error, or None when the broker
        ended it with OK, or `cut` did."""
        try:
            for told in self._stream:
                kind = told.WhichOneof("message")
                if kind is not None:  # else it is of a later version
                    self._hear(kind, getattr(told, kind))
            return None
        except BrokerError as error:
            return error
        finally:
            self._stream.cancel()

    def drain(self) -> None:
        if self.started:
            self._stream.drain()
        else:
            self.cut()  # it may wait for a broker for ever

    def cut(self) -> None:
        self._stream.cancel()
        self.abandon()

    def abandon(self) -> None:
        """Tells the handlers that what they say goes nowhere."""
        with self._mutex:
            for context in self._open.values():
                context.cancelled.set()

    def _hear(self, kind: str, told: Any) -> None:
        if kind == "client_message":
            self._spend("messages")
            self._take(told)
        elif kind == "request_cancelled":
            with self._mutex:
                context = self._open.get(told.message_id)
                if context is not None:
                    context.cancelled.set()
        elif kind == "handshake_offer":
            self._spend("handshakes")
            self._pools.handshakes.submit(lambda: self._judge(told))
        elif kind == "started":
            self.started = True
            LOG.info("attached, epoch %d", told.epoch)
            self._tell("started")
        elif kind.startswith("connection_"):
            self._spend("events")
            event = told if kind == "connection_closed" else told.connection
            self._tell(kind, event, then=lambda: self._free("events"))

    def _spend(self, kind: str) -> None:
        self._pools.spend(kind, self._outbox)

    def _free(self, kind: str, request: Optional[attach_pb2.AttachRequest] = None) -> None:
        self._pools.free(kind, self._outbox, request)

    def _tell(self, event: str, *arguments: Any, then: Callable[[], None] = lambda: None) -> None:
        tell_event(self._handlers, self._pools, event, *arguments, then=then)

    def _take(self, message: conversation_pb2.ClientMessage) -> None:
        kind = message.WhichOneof("content")
        if kind is None:  # it is of a later version
            self._free("messages")
            return
        context = Context(message, self._outbox)
        with self._mutex:
            self._open[message.message_id] = context
        task = functools.partial(self._handle, kind, message, context)
        if kind in ("text", "binary"):
            self._pools.messages.submit_in_order(message.connection_id, task)
        else:
            self._pools.messages.submit(task)

    def _handle(self, kind: str, message: conversation_pb2.ClientMessage, context: Context) -> None:
        reply = None
        if kind != "request" or not context.cancelled.is_set():  # else it was over before it began
            reply = self._outcome(kind, getattr(message, kind), context)
        with self._mutex:
            del self._open[message.message_id]
        if kind == "request" and reply is not None and not context.cancelled.is_set():
            reply.message_id = message.message_id
            self._free("messages", attach_pb2.AttachRequest(reply=reply))
        else:
            self._free("messages")

    def _outcome(self, kind: str, content: Any, context: Context) -> conversation_pb2.Reply:
        try:
            if kind in ("text", "binary"):
                assert self._handlers.message is not None
                self._handlers.message(content, context)
                return conversation_pb2.Reply()
            params = json.loads(content.params_json) if content.params_json else None
            result = _returned(self._handlers.find(content.method), params, context)
            if isinstance(result, JsonRpcError):
                return conversation_pb2.Reply(error=result.to_proto())
            if kind == "notification":
                return conversation_pb2.Reply()
            return conversation_pb2.Reply(result_json=encode(result, RESULT_LEVELS))
        except BaseException:  # sys.exit(), too, ends no thread of ours
            LOG.exception("the handler failed for %s of connection %s", context.method or kind, context.connection_id)
            return conversation_pb2.Reply(error=_INTERNAL_ERROR)

    def _judge(self, offer: attach_pb2.HandshakeOffer) -> None:
        assert self._handlers.handshake is not None
        try:
            verdict = self._handlers.handshake(offer.handshake)
            if isinstance(verdict, Refusal):
                raise verdict
            if not isinstance(verdict, connection_pb2.Identity):
                # Not the value: it may be what proves a session.
                raise TypeError("a handshake handler must return an Identity or a Refusal, but returned a "
                                + type(verdict).__name__)
            self._client.add_connection(
                pb.AddConnectionRequest(connection_id=offer.connection_id, identity=verdict))
        except Refusal as refusal:
            self._stream.refuse(offer.offer_id, refusal.reason)
        except BrokerError as error:
            expected = error.code == grpc.StatusCode.NOT_FOUND or error.reason in _EXPECTED
            LOG.log(logging.INFO if expected else logging.ERROR,
                    "connection %s is not bound: %s", offer.connection_id, error)
            if error.reason == "CREDENTIAL_REVOKED":
                self._stream.refuse(offer.offer_id)
        except BaseException:
            # Nobody is refused for a fault of ours: the broker offers it again.
            LOG.exception("the handshake handler failed for connection %s", offer.connection_id)
        finally:
            self._free("handshakes")


def _returned(handler: Handler, params: Any, context: Context) -> Any:
    try:
        return handler(params, context)
    except JsonRpcError as error:
        return error


def tell_event(handlers: Handlers, pools: Pools, event: str, *arguments: Any,
               then: Callable[[], None] = lambda: None) -> None:
    """Calls the handler of an event, behind those of earlier events."""

    def task() -> None:
        try:
            handler = handlers.events.get(event)
            if handler is not None:
                handler(*arguments)
        except BaseException:
            LOG.exception("the handler failed for %s", event)
        finally:
            then()

    pools.events.submit(task)
