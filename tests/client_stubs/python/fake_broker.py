"""FakeBroker: a SocketBroker on a port of its own.

It keeps every request and answers as the test says; an RPC without an answer is
OK and empty.
"""

import contextlib
import queue
import threading
from concurrent import futures

import grpc
from google.protobuf import any_pb2
from socketbroker._rpc import error_details_pb2, status_pb2
from socketbroker.v1 import attach_pb2
from socketbroker.v1 import conversation_pb2
from socketbroker.v1 import socket_broker_pb2 as pb
from socketbroker.v1 import socket_broker_pb2_grpc

METHODS = [method.name for method in pb.DESCRIPTOR.services_by_name["SocketBroker"].methods]


def message_type(name):
    """A request or response of the service."""
    return getattr(pb, name, None) or getattr(conversation_pb2, name)


class Refusal(Exception):
    """What an answer raises to refuse: becomes a status with google.rpc details."""

    def __init__(self, code, message, reason="", violations=(), domain="socketbroker", details=None):
        super().__init__(message)
        self.code = code
        self.details = self._details(message, reason, violations, domain) if details is None else details

    def _details(self, message, reason, violations, domain):
        status = status_pb2.Status(code=self.code.value[0], message=message)
        if violations:
            bad = error_details_pb2.BadRequest()
            for field, description in violations:
                bad.field_violations.add(field=field, description=description)
            status.details.append(_pack("BadRequest", bad))
        if reason:
            info = error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata={"limit": "7"})
            status.details.append(_pack("ErrorInfo", info))
        return status.SerializeToString()


def _pack(name, message):
    return any_pb2.Any(type_url=f"type.googleapis.com/google.rpc.{name}", value=message.SerializeToString())


class Attachments:
    """The answer of Attach for a test that plays the broker by hand."""

    def __init__(self):
        self._begun = queue.Queue()

    def begin(self, requests, context):
        attachment = Attachment(requests, context)
        self._begun.put(attachment)
        return attachment

    def next(self):
        return self._begun.get(timeout=10)


class Attachment:
    """One Attach stream, seen from the broker."""

    def __init__(self, requests, context):
        self._heard, self._told = queue.Queue(), queue.Queue()
        context.add_callback(lambda: self._told.put(None))
        threading.Thread(target=self._hear, args=(requests,), daemon=True).start()

    def _hear(self, requests):
        with contextlib.suppress(Exception):  # the stream was broken
            for request in requests:
                self._heard.put(request)

    def hear(self, kind):
        """The next request, which must be of this kind."""
        request = self._heard.get(timeout=10)
        assert request.WhichOneof("message") == kind, request
        return getattr(request, kind)

    def hear_any(self):
        return self._heard.get(timeout=10)

    def tell(self, **response):
        self._told.put(attach_pb2.AttachResponse(**response))

    def start(self):
        """As the broker does; returns the start."""
        start = self.hear("start")
        self.tell(started=attach_pb2.AttachStarted(epoch=7))
        return start

    def end(self, refusal=None):
        self._told.put(refusal)

    def told(self):
        return iter(self._told.get, None)


class FakeBroker:
    def __init__(self):
        self.answers = {}
        self.requests = []
        self.metadata = {}
        self.time_remaining = None
        self._lock = threading.Lock()
        self._watch_ends = []
        servicer = socket_broker_pb2_grpc.SocketBrokerServicer()
        for name in METHODS:
            streams = {
                "Attach": self._stream("Attach", attach_pb2.AttachResponse),
                "Publish": self._stream("Publish", pb.PublishResponse),
                "RequestFiltered": self._replies,
                "WatchConnections": self._watch,
            }
            handler = streams.get(name) or self._unary(name, message_type(f"{name}Response"))
            setattr(servicer, name, handler)
        self._server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
        socket_broker_pb2_grpc.add_SocketBrokerServicer_to_server(servicer, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with self._lock:
            for end in self._watch_ends:
                end.set()
        self._server.stop(None).wait()

    def on(self, name, answer):
        """`answer` is a response, a Refusal, a function of the request, or a list of these for one call each.

        For WatchConnections: a list of responses, and a Refusal at its end; without
        one the watch stays open until the client or the test ends.
        """
        self.answers[name] = answer

    @contextlib.contextmanager
    def stuck(self, name):
        """Within the block one RPC is not answered."""
        end = threading.Event()

        def answer(_):
            end.wait()
            return message_type(f"{name}Response")()

        self.on(name, answer)
        try:
            yield
        finally:
            end.set()

    def of(self, name):
        """All requests of one RPC so far."""
        with self._lock:
            return [request for kept, request in self.requests if kept == name]

    @property
    def names(self):
        with self._lock:
            return [name for name, _ in self.requests]

    def _keep(self, name, request, context):
        with self._lock:
            self.requests.append((name, request))
            self.metadata = dict(context.invocation_metadata())
            self.time_remaining = context.time_remaining()

    def _unary(self, name, response_type):
        def handle(request, context):
            self._keep(name, request, context)
            answer = self.answers.get(name, response_type())
            if isinstance(answer, list):
                answer = answer.pop(0)
            try:
                if callable(answer):
                    answer = answer(request)
                if isinstance(answer, Refusal):
                    raise answer
                return answer
            except Refusal as refusal:
                return self._refuse(context, refusal)

        return handle

    def _stream(self, name, response_type):
        """One answer for each request; a Refusal ends the stream. Attachments answer as they like."""
        answer = self._unary(name, response_type)

        def handle(requests, context):
            if isinstance(self.answers.get(name), Attachments):
                yield from self._attach(self.answers[name].begin(requests, context), context)
                return
            for request in requests:
                yield answer(request, context)

        return handle

    def _attach(self, attachment, context):
        for told in attachment.told():
            if isinstance(told, Refusal):
                self._refuse(context, told)
            yield told

    def _replies(self, request, context):
        """The answer is a list of responses."""
        yield from self._each("RequestFiltered", request, context)

    def _each(self, name, request, context):
        self._keep(name, request, context)
        for answer in self.answers.get(name, []):
            if isinstance(answer, Refusal):
                self._refuse(context, answer)
            yield answer

    def _watch(self, request, context):
        yield from self._each("WatchConnections", request, context)
        end = threading.Event()
        with self._lock:
            self._watch_ends.append(end)
        if context.add_callback(end.set):
            end.wait()

    @staticmethod
    def _refuse(context, refusal):
        context.set_trailing_metadata((("grpc-status-details-bin", refusal.details),))
        context.abort(refusal.code, str(refusal))
