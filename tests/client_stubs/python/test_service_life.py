"""The service framework against a fake broker: how it comes back, and how it ends."""

import concurrent.futures
import queue
import threading

import grpc
import pytest
import socketbroker
from fake_broker import Refusal
from serving import echo, notification, request
from socketbroker import service as service_module
from socketbroker.v1 import attach_pb2
from socketbroker.v1 import connection_pb2

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT


def test_waits_longer_and_longer_until_it_is_attached(client, attachments, run, waits):
    run(echo(client))
    for _ in range(9):
        attachments.next().end(Refusal(UNAVAILABLE, "not now"))
    stream = attachments.next()
    assert waits == [(0, bound) for bound in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10)]
    stream.start()
    stream.tell(client_message=request(1))
    stream.hear("reply")
    stream.end()  # well, but nobody wanted it
    attachments.next()
    assert waits[9:] == [(0, 0.1)]


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED"])
def test_what_is_of_no_use_is_not_tried_again(client, attachments, run, waits, code):
    end = run(echo(client))
    attachments.next().end(Refusal(grpc.StatusCode[code], "never", violations=[("f", "d")]))
    with pytest.raises(socketbroker.BrokerError) as raised:
        end.result(timeout=10)
    assert (raised.value.code.name, raised.value.violations) == (code, [("f", "d")])
    assert waits == []


def test_a_wrong_send_is_not_a_wrong_start(client, attachments, run, waits):
    run(echo(client))
    stream = attachments.next()
    stream.start()
    stream.end(Refusal(INVALID_ARGUMENT, "too long", violations=[("send.message", "too long")]))
    attachments.next().start()


def test_lost_events_are_told_in_order(client, attachments, run, waits):
    told = queue.Queue()
    service = socketbroker.Service(client)
    service.on_started(lambda: told.put("started"))
    service.on_events_lost(lambda: told.put("lost"))
    service.on_admitted(lambda connection: told.put(connection.connection_id))
    run(service)
    stream = attachments.next()
    stream.start()
    admitted = connection_pb2.Connection(connection_id="c1")
    stream.tell(connection_admitted=attach_pb2.ConnectionAdmitted(connection=admitted))
    stream.end(Refusal(grpc.StatusCode.ABORTED, "too slow", "EVENTS_LOST"))
    attachments.next().start()
    assert [told.get(timeout=10) for _ in range(4)] == ["started", "c1", "lost", "started"]


def test_says_that_there_is_no_broker(run, monkeypatch):
    said = queue.Queue()
    monkeypatch.setattr(service_module, "_PATIENCE", 0.05)
    monkeypatch.setattr(service_module.LOG, "warning", lambda text, *arguments: said.put(text % arguments))
    with socketbroker.Client("unix:/nonexistent/broker.sock") as client:
        end = run(echo(client))
        assert "UNAVAILABLE" in said.get(timeout=10)
        assert not end.done()


def test_a_drain_waits_for_no_broker(run):
    with socketbroker.Client("unix:/nonexistent/broker.sock") as client:
        service = echo(client)
        end = run(service)
        with pytest.raises(concurrent.futures.TimeoutError):
            end.result(timeout=0.05)
        service.drain()
        assert end.result(timeout=10) is None


class Gate:
    """A handler of notifications that waits, and says so."""

    def __init__(self, service):
        self.entered, self.open, self.contexts = threading.Semaphore(0), threading.Event(), []
        service.on("wait", self._handle)

    def _handle(self, params, context):
        self.contexts.append(context)
        self.entered.release()
        assert self.open.wait(10)

    def wait(self):
        assert self.entered.acquire(timeout=10)


def test_what_is_still_handled_counts_for_the_next_stream(client, attachments, run, waits):
    """However often the broker is lost, no more is taken than the concurrency."""
    service = echo(client, concurrency=3)
    gate = Gate(service)
    run(service)
    for lost in range(3):
        stream = attachments.next()
        assert stream.start().credit.messages == 3 - lost
        stream.tell(client_message=notification(lost, "wait"))
        gate.wait()
        stream.end()
    stream = attachments.next()
    start = stream.start()
    assert start.credit == attach_pb2.AttachCredit(messages=0, handshakes=64, events=1000)
    gate.open.set()
    given = 0
    while given < 2:  # beyond half of it the rest may wait
        given += stream.hear("credit").messages
    stream.tell(client_message=request(9))
    said = stream.hear_any()
    while not said.HasField("reply"):
        given += said.credit.messages
        said = stream.hear_any()
    assert given <= 3


def drained_while_a_handler_waits(client, attachments, run):
    service = socketbroker.Service(client)
    gate = Gate(service)
    end = run(service)
    stream = attachments.next()
    stream.start()
    stream.tell(client_message=notification(1, "wait"))
    gate.wait()
    service.drain()
    stream.hear("drain")
    stream.end()
    with pytest.raises(concurrent.futures.TimeoutError):
        end.result(timeout=0.05)
    return service, gate, end


def test_a_drain_that_ends_well_cancels_nothing(client, attachments, run):
    _, gate, end = drained_while_a_handler_waits(client, attachments, run)
    (context,) = gate.contexts
    assert not context.cancelled.is_set()
    gate.open.set()
    assert end.result(timeout=10) is None


def test_a_drain_that_loses_the_stream_says_so(client, attachments, run, caplog):
    service = echo(client)
    end = run(service)
    stream = attachments.next()
    stream.start()
    stream.tell(client_message=request(1))
    stream.hear("reply")
    service.drain()
    stream.hear("drain")
    stream.end(Refusal(UNAVAILABLE, "away"))
    assert end.result(timeout=10) is None
    assert "the stream was lost while it was drained: UNAVAILABLE: away" in caplog.text


def test_a_drain_that_is_cut_after_the_stream_cancels_what_still_runs(client, attachments, run):
    service, gate, end = drained_while_a_handler_waits(client, attachments, run)
    service.drain()
    assert end.result(timeout=10) is None
    (context,) = gate.contexts
    assert context.cancelled.is_set()
    gate.open.set()
