"""Service: an attached service, as plain code for tests."""

import queue
import threading

import pytest

from harness.broker import PATIENCE, identity
from socketbroker import BrokerError, Client
from socketbroker.v1 import attach_pb2, conversation_pb2
from socketbroker.v1 import socket_broker_pb2 as pb


def messages(*methods, **options):
    """What AttachStart says of the methods that a service takes."""
    return attach_pb2.AttachMessages(methods=methods, **options)


class Service:
    """An attached service that keeps what it is told until the test asks."""

    def __init__(self, broker, *, credit=(100, 1000, 1000), api_key=None, **start):
        self.client = Client(broker.control, api_key=api_key)
        handshakes, events, messages = credit
        self.stream = self.client.attach(attach_pb2.AttachStart(
            credit=attach_pb2.AttachCredit(handshakes=handshakes, events=events, messages=messages), **start))
        self._told = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.started = self.next("started")

    def _read(self):
        try:
            for told in self.stream:
                self._told.put(told)
            self._told.put(None)
        except BrokerError as error:
            self._told.put(error)

    def next(self, kind=None):
        told = self._told.get(timeout=PATIENCE)
        assert told is not None and not isinstance(told, BrokerError), told
        if kind is None:
            return told
        assert told.WhichOneof("message") == kind, told
        return getattr(told, kind)

    def end(self):
        """The error that ends it, or None when it ends well; what it was told
        before is dropped."""
        while True:
            told = self._told.get(timeout=PATIENCE)
            if told is None or isinstance(told, BrokerError):
                return told

    def quiet(self):
        """Whether it has been told all: nothing is there but what the broker has
        yet to say."""
        return self._told.empty()

    def message(self, kind="request"):
        """The next client message, which must be of this kind."""
        told = self.next("client_message")
        assert told.WhichOneof("content") == kind, told
        return told

    def reply(self, message, result="null", report=0):
        """With JSON text."""
        self.stream.reply(conversation_pb2.Reply(
            message_id=message.message_id, result_json=result.encode(), report=report))

    def admit(self, offer, *args, **kwargs):
        return self.client.add_connection(pb.AddConnectionRequest(
            connection_id=offer.connection_id, identity=identity(*args, **kwargs))).connection

    def leave(self):
        self.stream.cancel()
        self.client.close()


@pytest.fixture
def attach():
    """Attaches services, which leave with the test."""
    services = []

    def attach(broker, **options):
        services.append(Service(broker, **options))
        return services[-1]

    yield attach
    for service in services:
        service.leave()
