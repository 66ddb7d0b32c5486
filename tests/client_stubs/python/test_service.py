"""The service framework against a fake broker: what it says on the stream, and when."""

import concurrent.futures
import queue
import threading

import grpc
import pytest
import socketbroker
from fake_broker import Attachments, Refusal
from socketbroker import service as service_module
from socketbroker.attachment import Handlers
from socketbroker.outbox import Outbox
from socketbroker.v1 import attach_pb2
from socketbroker.v1 import connection_pb2
from socketbroker.v1 import conversation_pb2
from socketbroker.v1 import message_pb2

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def attachments(broker):
    result = Attachments()
    broker.on("Attach", result)
    return result


@pytest.fixture
def run():
    """Runs services, and returns the future of what run() does."""
    running = []

    def run(service):
        end = concurrent.futures.Future()

        def serve():
            try:
                end.set_result(service.run())
            except BaseException as fault:
                end.set_exception(fault)

        threading.Thread(target=serve, daemon=True).start()
        running.append((service, end))
        return end

    yield run
    for service, end in running:
        service.drain()
        service.drain()
        concurrent.futures.wait([end], timeout=10)


@pytest.fixture
def waits(monkeypatch):
    """The bounds of every wait between two attachments, which take no time."""
    result = []
    monkeypatch.setattr(service_module.random, "uniform", lambda low, high: result.append((low, high)) or 0)
    return result


def request(id, method="m", params=b""):
    call = conversation_pb2.JsonRpcCall(method=method, params_json=params)
    return conversation_pb2.ClientMessage(message_id=id, request=call, connection_id="c1")


def echo(client, **options):
    service = socketbroker.Service(client, **options)
    service.on("*", lambda params, context: params)
    return service


def test_says_what_it_wants(client, attachments, run):
    service = socketbroker.Service(
        client, namespace="n", concurrency=5, handshake_concurrency=6, sticky="account", idempotent=True,
        filter='account_id = "a1"', events_filter='account_id = "a2"')
    service.on("b.*", print)
    service.on("a", print)
    service.on_closed(print)
    service.on_handshake(print)
    run(service)
    start = attachments.next().start()
    assert start == attach_pb2.AttachStart(
        namespace="n", handshakes=True, filter='account_id = "a2"',
        credit=attach_pb2.AttachCredit(messages=5, handshakes=6, events=1000),
        messages=attach_pb2.AttachMessages(
            methods=["a", "b.*"], filter='account_id = "a1"', sticky=attach_pb2.AttachMessages.STICKY_ACCOUNT,
            idempotent=True))


def test_says_no_more_than_that(client, attachments, run):
    service = socketbroker.Service(client)
    service.on_message(print)
    service.on_started(print)
    run(service)
    start = attachments.next().start()
    assert start.messages == attach_pb2.AttachMessages() and start.HasField("messages")
    assert not start.handshakes and start.WhichOneof("selector") is None and start.namespace == "default"


@pytest.mark.parametrize("options", [
    dict(concurrency=0), dict(concurrency=10_001), dict(handshake_concurrency=0), dict(sticky="forever")])
def test_options_that_are_wrong(client, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} is .* allowed"):
        socketbroker.Service(client, **options)


def test_handlers_that_are_wrong(client):
    service = socketbroker.Service(client)

    @service.on("m")
    def handler(params, context):
        pass

    assert callable(handler)
    with pytest.raises(ValueError, match="'m' has a handler already"):
        service.on("m", handler)
    service.on_message(handler)
    with pytest.raises(ValueError, match="exclude each other"):
        service.run()
    with pytest.raises(RuntimeError, match="already"):
        service.on("n", handler)


@pytest.mark.parametrize("method, found", [
    ("orders.create", "orders.create"), ("orders.list", "orders.*"), ("orders.", "orders.*"), ("orders", "or*"),
    ("orders.items.add", "orders.items.*"), ("o", "*"), ("orders.create*", "orders.*"), ("orders.*", "orders.*")])
def test_the_most_specific_pattern_wins(method, found):
    handlers = Handlers()
    handlers.methods = {pattern: pattern for pattern in (
        "*", "or*", "orders.*", "orders.items.*", "orders.create", "orders.create.more")}
    assert handlers.find(method) == found


def test_credit_goes_back_in_portions(client, attachments, run):
    run(echo(client, concurrency=8))
    stream = attachments.next()
    left = stream.start().credit.messages
    portions = []
    for n in range(80):
        assert left > 0
        stream.tell(client_message=request(n))
        left -= 1
        while True:
            said = stream.hear_any()
            if said.HasField("reply"):
                break
            portions.append(said.credit.messages)
            left += portions[-1]
            assert left <= 8
        assert said.reply.message_id == n
    assert 3 <= min(portions) and max(portions) <= 8


def test_a_cancelled_request_gets_no_reply(client, attachments, run):
    service = echo(client)
    service.on("wait", lambda params, context: context.cancelled.wait(10))
    run(service)
    stream = attachments.next()
    stream.start()
    stream.tell(client_message=request(1, "wait"))
    stream.tell(request_cancelled=conversation_pb2.RequestCancelled(message_id=9))
    stream.tell(request_cancelled=conversation_pb2.RequestCancelled(message_id=1))
    stream.tell(client_message=request(2, params=b'{"n":1}'))
    reply = stream.hear("reply")
    assert (reply.message_id, reply.result_json) == (2, b'{"n":1}')


def test_what_was_cancelled_before_it_began_does_not_begin(client, attachments, run, waits):
    """A broker is lost while the only thread is busy; the next one gives more before it is free."""
    entered, end, begun = threading.Event(), threading.Event(), []

    def work(params, context):
        begun.append(params)
        entered.set()
        assert end.wait(10)
        return params

    service = socketbroker.Service(client, concurrency=1)
    service.on("m", work)
    service.on_admitted(lambda connection: end.set())
    run(service)
    lost = attachments.next()
    lost.start()
    lost.tell(client_message=request(1, params=b"[1]"))
    assert entered.wait(10)
    lost.end()
    stream = attachments.next()
    stream.start()
    stream.tell(client_message=request(2, params=b"[2]"))
    stream.tell(request_cancelled=conversation_pb2.RequestCancelled(message_id=2))
    stream.tell(client_message=request(3, params=b"[3]"))
    stream.tell(connection_admitted=attach_pb2.ConnectionAdmitted())  # behind all these
    assert stream.hear("credit").messages == 1
    assert stream.hear("reply").message_id == 3
    assert begun == [[1], [3]]


def test_what_it_does_not_know_is_left_alone(client, attachments, run):
    run(echo(client, concurrency=1))
    stream = attachments.next()
    stream.start()
    stream.tell()
    stream.tell(client_message=conversation_pb2.ClientMessage(message_id=5))
    assert stream.hear("credit").messages == 1
    stream.tell(report=conversation_pb2.SendReport(report=1))
    stream.tell(client_message=request(1))
    assert stream.hear("reply").result_json == b"null"


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


def test_a_revoked_client_is_refused(broker, client, attachments, run):
    service = socketbroker.Service(client)
    service.on_handshake(lambda handshake: connection_pb2.Identity(account_id="a1"))
    run(service)

    def add(request):
        reasons = {"c1": "ALREADY_BOUND", "c2": "CREDENTIAL_REVOKED"}
        raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "no", reasons[request.connection_id])

    broker.on("AddConnection", add)
    stream = attachments.next()
    stream.start()
    for n in (1, 2):
        stream.tell(handshake_offer=attach_pb2.HandshakeOffer(offer_id=n, connection_id=f"c{n}"))
    assert stream.hear("refuse_handshake") == attach_pb2.RefuseHandshake(offer_id=2)
    assert {request.connection_id for request in broker.of("AddConnection")} == {"c1", "c2"}


def test_a_refusal_has_room_in_a_close_frame():
    assert socketbroker.Refusal("é" * 61).reason == "é" * 61
    with pytest.raises(ValueError, match="124 bytes, at most 123"):
        socketbroker.Refusal("é" * 62)


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


def test_who_sends_more_than_the_stream_takes_waits():
    outbox = Outbox(attach_pb2.AttachStart(), {"messages": 1})
    send = attach_pb2.AttachRequest(send=conversation_pb2.ClientSend(message=message_pb2.Message(text="x")))
    sent = []

    def write():
        for n in range(1002):
            outbox.put_send(send)
            sent.append(n)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    for _ in range(3):  # the start, and two that were sent
        outbox.get()
    writer.join(10)
    assert not writer.is_alive() and len(sent) == 1002

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(0.05)
    assert writer.is_alive()
    outbox.put(None)
    writer.join(10)
    assert not writer.is_alive() and outbox.get() is None
