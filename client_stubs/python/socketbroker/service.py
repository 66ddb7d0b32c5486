"""Service: answers what clients send, judges who connects, and hears of connections.

    service = Service(Client("127.0.0.1:50051"))

    @service.on("orders.create")
    def create(params, context):
        return {"id": store(params, context.identity.account_id)}

    service.run()
"""

import concurrent.futures
import math
import random
import threading
import time
from typing import Any, Callable, Optional, Tuple, TypeVar, Union, overload

import grpc

from socketbroker.attachment import LOG, Attachment, Handlers, Refusal, tell_event
from socketbroker.client import Client
from socketbroker.context import Context
from socketbroker.error import BrokerError
from socketbroker.pools import Pools
from socketbroker.v1 import attach_pb2
from socketbroker.v1 import connection_pb2
from socketbroker.v1 import handshake_pb2

_FIRST_DELAY = 0.1
_MAX_DELAY = 10.0
# Seconds until it is said that there is no broker.
_PATIENCE = 5.0
_MAX_CONCURRENCY = 10_000
# So many may wait for the handler of events.
_EVENTS_CREDIT = 1_000
_STICKY = {
    "none": attach_pb2.AttachMessages.STICKY_UNSPECIFIED,
    "connection": attach_pb2.AttachMessages.STICKY_CONNECTION,
    "account": attach_pb2.AttachMessages.STICKY_ACCOUNT,
}
_LIFECYCLE = ("connection_admitted", "connection_updated", "connection_closed")

# The types of handlers. Each `on...` returns the one that it is given.
_Method = TypeVar("_Method", bound=Callable[[Any, Context], Any])
_Message = TypeVar("_Message", bound=Callable[[Union[str, bytes], Context], Any])
_Judge = TypeVar("_Judge", bound=Callable[[handshake_pb2.Handshake], Union[connection_pb2.Identity, Refusal]])
_Changed = TypeVar("_Changed", bound=Callable[[connection_pb2.Connection], Any])
_Closed = TypeVar("_Closed", bound=Callable[[attach_pb2.ConnectionClosed], Any])
_Hook = TypeVar("_Hook", bound=Callable[[], Any])
_Event = TypeVar("_Event", bound=Callable[..., Any])


class Service:
    """A program that clients talk to, attached to the broker while it runs.

    First it is told what to do, by the methods `on...`, each of which is a
    decorator, too; then `run` does it. Handlers run on threads of their own.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str = "default",
        concurrency: int = 64,
        handshake_concurrency: int = 64,
        sticky: str = "none",
        idempotent: bool = False,
        filter: Optional[str] = None,
        events_filter: Optional[str] = None,
    ):
        """Does not attach yet.

        Args:
          client: how to reach the broker. Its caller needs the role `listen`,
            `send` for what handlers send and `bind` for `on_handshake`.
          namespace: where.
          concurrency: so many messages are handled at once, 1 to 10,000. More
            wait in the broker, or go to other services. With framing RAW those
            that wait here for an earlier one of their connection count, too.
          handshake_concurrency: the same for clients that are judged.
          sticky: what stays with the service that got the first of it: "none",
            the messages of a "connection", or those of an "account".
          idempotent: a request may be done twice: when this service is lost
            before it has replied, another one gets it. Else the client gets the
            error -32001.
          filter: takes messages from the connections that this AIP-160 text
            matches. None: from all.
          events_filter: the same for `on_admitted`, `on_updated` and
            `on_closed`.
        """
        for name, value in (("concurrency", concurrency), ("handshake_concurrency", handshake_concurrency)):
            if not 1 <= value <= _MAX_CONCURRENCY:
                raise ValueError(f"{name} is {value}, 1 to {_MAX_CONCURRENCY} are allowed")
        if sticky not in _STICKY:
            raise ValueError(f"sticky is {sticky!r}, allowed are {', '.join(_STICKY)}")
        self._client = client
        self._namespace = namespace
        self._credit = {"messages": concurrency, "handshakes": handshake_concurrency, "events": _EVENTS_CREDIT}
        self._sticky = _STICKY[sticky]
        self._idempotent = idempotent
        self._filter = filter
        self._events_filter = events_filter
        self._handlers = Handlers()
        # Reentrant, since a signal may call drain() at any place of run().
        self._changed = threading.Condition(threading.RLock())
        self._ran = False
        self._draining = False
        self._deadline = math.inf  # of the drain
        self._attachment: Optional[Attachment] = None  # the newest; it may have ended

    @property
    def client(self) -> Client:
        """For calls of handlers: it is thread-safe."""
        return self._client

    @overload
    def on(self, pattern: str) -> Callable[[_Method], _Method]: ...

    @overload
    def on(self, pattern: str, handler: _Method) -> _Method: ...

    def on(self, pattern: str, handler: Optional[_Method] = None) -> Union[_Method, Callable[[_Method], _Method]]:
        """Takes requests and notifications.

        The handler is called with the params, decoded from JSON and None when
        there are none, and a Context. What it returns is the result: None, bool,
        int, float, str, list, tuple or dict. It raises JsonRpcError to answer
        with an error. Of any other exception the client gets the error -32603,
        "Internal error", and nothing of its text, which is logged. Nobody gets
        what comes of a notification.

        Messages of one connection may be handled at the same time, unless its
        endpoint has `message_order` STRICT.

        Args:
          pattern: a method, all with a prefix such as `orders.*`, or `*`. A whole
            name goes before a prefix, and a longer prefix before a shorter one.
        """
        if not isinstance(pattern, str):
            raise TypeError(f"the pattern must be a str, but is {pattern!r}: a decorator is written @service.on('m')")
        if handler is None:
            return lambda decorated: self.on(pattern, decorated)
        if pattern in self._handlers.methods:
            raise ValueError(f"{pattern!r} has a handler already")
        self._check_not_running()
        self._handlers.methods[pattern] = handler
        return handler

    def on_message(self, handler: _Message) -> _Message:
        """Takes all messages of a namespace with framing RAW, in order per connection.

        The handler is called with a str or bytes, and a Context. A client that
        sends faster than it is handled can have all of the `concurrency` wait for
        its earlier messages, and so keep others waiting: let the handler be
        quick, or limit clients by the endpoint's `max_messages_per_second`.
        """
        self._check_not_running()
        self._handlers.message = handler
        return handler

    def on_handshake(self, handler: _Judge) -> _Judge:
        """Judges clients that connect to endpoints with the way ATTACH.

        The handler is called with the handshake_pb2.Handshake, and returns the
        connection_pb2.Identity of the client, which is then admitted, or returns
        or raises Refusal. After any other exception the client is offered again,
        to this or another service. It must look the credential up in the call,
        and not in a cache: else a revocation can be missed.
        """
        self._check_not_running()
        self._handlers.handshake = handler
        return handler

    def on_admitted(self, handler: _Changed) -> _Changed:
        """Hears of admitted connections: the handler is called with the connection_pb2.Connection.

        The handlers of events run one at a time, in the order in which the
        broker told them. Between two attachments nothing is told.
        """
        return self._on_event("connection_admitted", handler)

    def on_updated(self, handler: _Changed) -> _Changed:
        """Hears of changed identities: see `on_admitted`."""
        return self._on_event("connection_updated", handler)

    def on_closed(self, handler: _Closed) -> _Closed:
        """Hears of connections that end: called with the attach_pb2.ConnectionClosed."""
        return self._on_event("connection_closed", handler)

    def on_started(self, handler: _Hook) -> _Hook:
        """Called, with nothing, each time the service is attached, before its first
        event: the place to list connections for who keeps track of them."""
        return self._on_event("started", handler)

    def on_events_lost(self, handler: _Hook) -> _Hook:
        """Called, with nothing, when events were handled too slowly and are lost.

        The service is attached again at once, and told so by `on_started`.
        """
        return self._on_event("events_lost", handler)

    def run(self) -> None:
        """Serves until `drain`, and attaches again whenever the broker is lost.

        It waits at random up to 0.1 s before it does, up to twice that after each
        failure, and never more than 10 s; then as long as there is no broker.
        Handlers that still run when it is lost have their Context cancelled, and
        count for the concurrency until they end.

        Raises:
          BrokerError: there is no use in trying again: the broker does not take
            these options (INVALID_ARGUMENT), does not know the caller
            (UNAUTHENTICATED), or does not let it (PERMISSION_DENIED).
        """
        self._check_not_running()
        self._ran = True
        start = self._make_start()
        pools = Pools(self._credit, self._changed)
        try:
            self._serve(start, pools)
            self._wait_until(lambda: pools.idle)
        finally:
            if self._attachment is not None:
                self._attachment.cut()
            pools.stop()

    def drain(self, timeout: Optional[float] = None) -> None:
        """Takes no more messages; `run` returns when the handlers have ended.

        Returns at once. Any thread may call it, and a signal handler.

        Args:
          timeout: after so many seconds, or when drain is called again, `run`
            returns all the same, and the clients of what was open get the error
            -32001. None: waits.
        """
        with self._changed:
            self._deadline = math.inf if timeout is None else time.monotonic() + timeout
            if self._draining:
                self._deadline = time.monotonic()
            elif self._attachment is not None:
                self._attachment.drain()
            self._draining = True
            self._changed.notify_all()

    def _on_event(self, event: str, handler: _Event) -> _Event:
        self._check_not_running()
        self._handlers.events[event] = handler
        return handler

    def _check_not_running(self) -> None:
        if self._ran:
            raise RuntimeError("the service runs, or has run, already")

    def _make_start(self) -> attach_pb2.AttachStart:
        handlers = self._handlers
        start = attach_pb2.AttachStart(namespace=self._namespace, handshakes=handlers.handshake is not None)
        if any(event in handlers.events for event in _LIFECYCLE):
            if self._events_filter is None:
                start.match_all = True
            else:
                start.filter = self._events_filter
        if handlers.methods and handlers.message is not None:
            raise ValueError("on() and on_message() exclude each other: a namespace has one framing")
        if handlers.methods or handlers.message is not None:
            start.messages.CopyFrom(attach_pb2.AttachMessages(
                methods=sorted(handlers.methods), filter=self._filter, sticky=self._sticky,
                idempotent=self._idempotent))
        return start

    def _serve(self, start: attach_pb2.AttachStart, pools: Pools) -> None:
        """Attaches again and again; returns when it is drained."""
        delay = _FIRST_DELAY
        while not self._draining:
            attachment, error = self._attach_once(start, pools)
            if error is not None or not self._draining:
                attachment.abandon()
            if self._draining:
                if error is not None:
                    LOG.warning("the stream was lost while it was drained: %s", error)
                return
            if error is not None and _is_final(error, attachment.started):
                raise error
            if error is not None and error.reason == "EVENTS_LOST":
                tell_event(self._handlers, pools, "events_lost")
            if attachment.started:
                delay = _FIRST_DELAY
            wait = random.uniform(0, delay)
            LOG.warning("not attached: %s; again in %.1f s", error or "the broker has ended it", wait)
            self._wait_until(lambda: self._draining, wait)
            delay = min(2 * delay, _MAX_DELAY)

    def _attach_once(
        self, start: attach_pb2.AttachStart, pools: Pools
    ) -> Tuple[Attachment, Optional[BrokerError]]:
        with self._changed:
            attachment = self._attachment = Attachment(self._client, self._handlers, pools, start)
            if self._draining:
                attachment.drain()
        ended: "concurrent.futures.Future[Optional[BrokerError]]" = concurrent.futures.Future()
        threading.Thread(target=self._read, args=(attachment, ended), name="socketbroker-attach", daemon=True).start()
        if not self._wait_until(lambda: attachment.started or ended.done(), _PATIENCE):
            reason = self._client._connection_error()
            if reason is not None:
                LOG.warning("not attached yet, and waiting: %s", reason)
        if not self._wait_until(ended.done):
            attachment.cut()
        return attachment, ended.result()

    def _read(self, attachment: Attachment, ended: "concurrent.futures.Future[Optional[BrokerError]]") -> None:
        try:
            ended.set_result(attachment.run())
        except BaseException as fault:
            ended.set_exception(fault)
        with self._changed:
            self._changed.notify_all()

    def _wait_until(self, done: Callable[[], bool], limit: float = math.inf) -> bool:
        """False when so many seconds, or the time of a drain, have passed before."""
        end = time.monotonic() + limit
        with self._changed:
            while not done():
                left = min(end, self._deadline) - time.monotonic()
                if left <= 0:
                    return False
                # Python sees a signal that came just before a wait only after it.
                self._changed.wait(min(left, 1.0))
        return True


def _is_final(error: BrokerError, started: bool) -> bool:
    """Once it has started, the start was right: an INVALID_ARGUMENT is then about
    what one handler sent."""
    if error.code == grpc.StatusCode.INVALID_ARGUMENT:
        return not started
    return error.code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
