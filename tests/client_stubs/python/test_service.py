"""The service framework against a fake broker: what it says on the stream, and when."""

import queue
import re
import threading

import grpc
import pytest
import socketbroker
from fake_broker import Refusal
from serving import echo, request
from socketbroker.attachment import Handlers
from socketbroker.outbox import Outbox
from socketbroker.v1 import attach_pb2
from socketbroker.v1 import connection_pb2
from socketbroker.v1 import conversation_pb2
from socketbroker.v1 import message_pb2


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
    with pytest.raises(TypeError, match=r"@service.on\('m'\)"):
        service.on(handler)  # a decorator without its pattern
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


def test_what_was_cancelled_before_it_began_does_not_begin(client, attachments, run):
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
    stream = attachments.next()
    stream.start()
    for n in (1, 2, 3):  # more than there is credit for, so that the second waits
        stream.tell(client_message=request(n, params=b"[%d]" % n))
    stream.tell(request_cancelled=conversation_pb2.RequestCancelled(message_id=2))
    stream.tell(connection_admitted=attach_pb2.ConnectionAdmitted())  # behind all these
    replies = []
    while len(replies) < 2:
        said = stream.hear_any()
        if said.HasField("reply"):
            replies.append(said.reply.message_id)
    assert replies == [1, 3] and begun == [[1], [3]]


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


@pytest.mark.parametrize("text, most", [("x", 1000), ((1 << 20) * "x", 16)], ids=["many", "large"])
def test_who_sends_more_than_the_stream_takes_waits(text, most):
    outbox = Outbox(attach_pb2.AttachStart(), {"messages": 1}, {"messages": 1})
    send = attach_pb2.AttachRequest(send=conversation_pb2.ClientSend(message=message_pb2.Message(text=text)))
    sent = []

    def write():
        for n in range(most + 2):
            outbox.put_send(send)
            sent.append(n)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    for _ in range(3):  # the start, and two that were sent
        outbox.get()
    writer.join(10)
    assert not writer.is_alive() and len(sent) == most + 2

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(0.05)
    assert writer.is_alive()
    outbox.put(None)
    writer.join(10)
    assert not writer.is_alive() and outbox.get() is None


@pytest.mark.parametrize("answer", ["the secret", {"session": "the secret"}, None])
def test_a_handshake_handler_that_returns_nonsense_is_named_without_it(client, attachments, run, caplog, answer):
    service = socketbroker.Service(client, handshake_concurrency=1)
    service.on_handshake(lambda handshake: answer)
    run(service)
    stream = attachments.next()
    stream.start()
    stream.tell(handshake_offer=attach_pb2.HandshakeOffer(offer_id=1, connection_id="c1"))
    assert stream.hear("credit").handshakes == 1
    assert f"returned a {type(answer).__name__}" in caplog.text and "the secret" not in caplog.text


@pytest.mark.parametrize("message", [5, None, [1], "x" * ((3 << 20) + 1), bytes((3 << 20) + 1)],
                         ids=["int", "none", "list", "long text", "long binary"])
def test_what_no_client_may_be_sent_is_a_fault_of_the_handler(client, attachments, run, message):
    """And not the end of the stream."""
    raised = queue.Queue()

    def handle(said, context):
        with pytest.raises((TypeError, ValueError)) as caught:
            context.send(message)
        raised.put(str(caught.value))
        context.send(memoryview(b"next"))

    service = socketbroker.Service(client)
    service.on_message(handle)
    run(service)
    stream = attachments.next()
    stream.start()
    stream.tell(client_message=conversation_pb2.ClientMessage(message_id=1, text="x", connection_id="c1"))
    assert stream.hear("send").message == message_pb2.Message(binary=b"next")
    assert re.match("a message must be a str|the message has 3145729 bytes", raised.get(timeout=10))
