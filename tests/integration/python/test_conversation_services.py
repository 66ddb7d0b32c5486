"""Services attach, share the work, fall behind and leave, on the real daemon."""

import json
import threading

import pytest

from harness import raw
from harness.callers import caller, configured, key_of
from harness.checks import fails, notification
from harness.framework import request, result
from harness.service import messages
from socketbroker.v1 import attach_pb2, conversation_pb2, message_pb2


@pytest.mark.parametrize("start, field", [
    (dict(messages=messages()), "messages.methods"),
    (dict(messages=messages("a*b")), "messages.methods[0]"),
    (dict(messages=messages("a", "")), "messages.methods[1]"),
    (dict(messages=messages("x" * 257)), "messages.methods[0]"),
    (dict(messages=messages("*", filter="nonsense = 1")), "messages.filter"),
    (dict(messages=messages("*", sticky=9)), "messages.sticky"),
    (dict(), "start"),
])
def test_what_cannot_be_attached(broker, attach, start, field):
    with broker.client.attach(attach_pb2.AttachStart(**start)) as stream:
        with fails("INVALID_ARGUMENT", field=field):
            next(stream)


def test_nobody_serves_it(broker, attach):
    socket = broker.join("a1")
    request(socket, 1, "m")
    assert socket.receive_json()["error"]["code"] == -32601
    service = attach(broker, messages=messages("a.*", filter='account_id = "a2"'))
    request(socket, 2, "a.b")
    assert socket.receive_json()["error"]["code"] == -32601
    other = broker.join("a2")
    request(other, 3, "a.b")
    service.reply(service.message())
    assert other.receive_json() == result(3, None)


def test_what_cannot_be_queued_says_when_to_try_again(start_broker, attach):
    broker = start_broker(config={
        "endpoints": [{"path": "/ws"}], "limits": {"max_waiting_messages": 1}})
    service = attach(broker, messages=messages("*"), credit=(0, 0, 0))
    socket = broker.join("a1")
    request(socket, 1, "m")
    request(socket, 2, "m")
    refused = socket.receive_json()
    assert refused["id"] == 2 and refused["error"]["code"] == -32000
    assert refused["error"]["data"] == {"retry_after": 1}
    service.stream.credit(messages=1)
    service.reply(service.message())
    assert socket.receive_json() == result(1, None)


def test_a_drain_ends_well(broker, attach):
    first = attach(broker, messages=messages("*"))
    socket = broker.join("a1")
    request(socket, 1, "m")
    asked = first.message()
    second = attach(broker, messages=messages("*"))
    first.stream.drain()
    first.stream.send(socket.id, notification(), report=9)
    first.next("report")  # so the drain has begun
    socket.receive()
    request(socket, 2, "m")
    second.reply(second.message(), "2")
    assert socket.receive_json() == result(2, 2)
    first.reply(asked, "1")
    assert socket.receive_json() == result(1, 1)
    assert first.end() is None


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_service_that_is_gone(broker, attach, idempotent):
    first = attach(broker, messages=messages("*", idempotent=idempotent))
    socket = broker.join("a1")
    request(socket, 1, "m", {"n": 1})
    asked = first.message()
    second = attach(broker, messages=messages("*", idempotent=idempotent))
    first.leave()
    if idempotent:
        again = second.message()
        assert again.message_id != asked.message_id and again.request == asked.request
        assert again.sequence == asked.sequence
        second.reply(again, "1")
        assert socket.receive_json() == result(1, 1)
    else:
        assert socket.receive_json()["error"]["code"] == -32001


def test_a_service_that_says_no_more_replies_no_more(broker, attach):
    service = attach(broker, messages=messages("*"), match_all=True)
    socket = broker.join("a1")
    service.next("connection_admitted")
    request(socket, 1, "m")
    service.message()
    service.stream.half_close()
    assert socket.receive_json()["error"]["code"] == -32001
    request(socket, 2, "m")
    assert socket.receive_json()["error"]["code"] == -32601
    socket.close()
    service.next("connection_closed")


def test_it_needs_the_role_and_stays_within_reach(start_broker, attach):
    mine_only = {"filter": 'account_id = "a1"'}
    broker = start_broker(api_key=key_of("admin"), config=configured(
        caller("listener", "LISTEN", **mine_only), caller("both", "LISTEN", "SEND", **mine_only),
        caller("admin", "ADMIN")))
    mine, other = broker.join("a1"), broker.join("a2")
    service = attach(broker, messages=messages("*"), api_key=key_of("listener"))
    request(other, 1, "m")
    assert other.receive_json()["error"]["code"] == -32601
    request(mine, 1, "m")
    service.reply(service.message())
    assert mine.receive_json() == result(1, None)
    service.stream.send(mine.id, notification())
    assert service.end().reason == "ROLE_MISSING"
    service = attach(broker, messages=messages("*"), api_key=key_of("both"))
    service.stream.send(other.id, notification(), report=1)
    assert service.next("report").outcome == message_pb2.SEND_OUTCOME_GONE
    service.stream.send(mine.id, notification(), report=2)
    assert service.next("report").outcome == message_pb2.SEND_OUTCOME_QUEUED


def test_two_services_share_the_work(broker, attach):
    services = [attach(broker, messages=messages("*"), credit=(0, 0, 50)) for _ in range(2)]
    socket = broker.join("a1")

    def serve(service):
        for _ in range(30):
            service.reply(service.message(), "1")

    for n in range(60):
        request(socket, n, "m")
        # 64 may be open.
    threads = [threading.Thread(target=serve, args=(s,)) for s in services]
    for thread in threads:
        thread.start()
    replies = {socket.receive_json()["id"] for _ in range(60)}
    for thread in threads:
        thread.join()
    assert replies == set(range(60))


def test_a_service_that_stops_reading_is_not_buffered_for(start_broker, frees_memory):
    broker = start_broker(config={
        "endpoints": [{"path": "/ws"}], "limits": {"max_waiting_messages": 100, "max_waiting_bytes": 1 << 20}})
    sockets = [broker.raw_socket(broker.ticket(f"a{n}")) for n in range(20)]
    answers = [[] for _ in sockets]

    def read(n, until):
        while not until(n):
            frame = sockets[n].frame()
            if frame.opcode == raw.PONG:
                return
            answers[n].append(json.loads(frame.payload))

    before = broker.resident_memory()
    # It takes everything, and reads nothing: what gRPC has room for is on the way, no more.
    with broker.client.attach(attach_pb2.AttachStart(
            messages=messages("*"), credit=attach_pb2.AttachCredit(messages=100_000))) as stream:
        assert next(stream).HasField("started")
        for n, socket in enumerate(sockets):
            for id in range(50):
                call = {"jsonrpc": "2.0", "id": id, "method": "m", "params": ["x" * 50_000]}
                socket.send(raw.TEXT, json.dumps(call).encode())
            socket.send(raw.PING)
            read(n, lambda n: False)
        # The broker has read all 50 MB.
        assert broker.resident_memory() - before < 40 << 20

        def serve():
            for told in stream:
                stream.reply(conversation_pb2.Reply(message_id=told.client_message.message_id, result_json=b"1"))

        threading.Thread(target=serve, daemon=True).start()
        for n in range(20):
            read(n, lambda n: len(answers[n]) == 50)
    # Each is answered once, and what there was no room for says so.
    for own in answers:
        assert sorted(a["id"] for a in own) == list(range(50))
    refused = [a for own in answers for a in own if "error" in a]
    assert 500 < len(refused) < 1000 and {a["error"]["code"] for a in refused} == {-32000}
    assert all(a["result"] == 1 for own in answers for a in own if "error" not in a)


def test_a_service_that_does_not_read_its_reports_is_not_listened_to(broker):
    socket = broker.join("a1")
    with broker.client.attach(attach_pb2.AttachStart(messages=messages("*"))) as stream:
        assert next(stream).HasField("started")
        # Above 1,000 unread reports the rest waits with the service, and nothing is lost.
        for n in range(1, 5001):
            stream.send(socket.id, notification(f"m{n}"), report=n)
        assert [json.loads(socket.receive())["method"] for _ in range(1000)] == [f"m{n}" for n in range(1, 1001)]
        assert [next(stream).report.report for _ in range(5000)] == list(range(1, 5001))
        assert [json.loads(socket.receive())["method"] for _ in range(4000)] == [f"m{n}" for n in range(1001, 5001)]
