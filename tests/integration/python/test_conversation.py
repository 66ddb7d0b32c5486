"""Clients talk to services over Attach, on the real daemon."""

import json
import os
import threading

import pytest

from harness import raw
from harness.broker import identity, wait_until
from harness.callers import caller, configured, key_of
from harness.checks import REVOKED, fails, notification
from harness.revoke import close_account
from socketbroker.v1 import attach_pb2, connection_pb2, conversation_pb2, message_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

Cancelled = conversation_pb2.RequestCancelled


def messages(*methods, **options):
    return attach_pb2.AttachMessages(methods=methods, **options)


def request(socket, id, method, params=None):
    call = {"jsonrpc": "2.0", "id": id, "method": method}
    if params is not None:
        call["params"] = params
    socket.send(json.dumps(call))


def notify(socket, method, params=None):
    call = {"jsonrpc": "2.0", "method": method}
    if params is not None:
        call["params"] = params
    socket.send(json.dumps(call))


def answer(id, **rest):
    return {"jsonrpc": "2.0", "id": id, **rest}


def test_a_request_and_its_reply_verbatim(broker, attach):
    service = attach(broker, messages=messages("orders.*"))
    socket = broker.join("a1", session="s1", labels={"team": "blue"}, groups=["g"])
    socket.send('{"jsonrpc":"2.0","id":"x\\u0041","method":"orders.create","params":{ "n" : 1.50 }}')
    asked = service.message()
    assert (asked.request.method, asked.request.params_json) == ("orders.create", b'{ "n" : 1.50 }')
    assert asked.connection_id == socket.id and asked.sequence == 1 and asked.endpoint == "/ws"
    assert asked.remote_address == "127.0.0.1" and asked.remote_port > 0
    assert asked.identity == identity("a1", session="s1", labels={"team": "blue"}, groups=["g"])
    service.reply(asked, '{ "made" : 1.50 }')
    assert socket.receive() == '{"jsonrpc":"2.0","id":"x\\u0041","result":{ "made" : 1.50 }}'


def test_the_forms_of_a_reply(broker, attach):
    service = attach(broker, messages=messages("*"))
    socket = broker.join("a1")

    def exchange(**outcome):
        request(socket, 1, "m")
        service.stream.reply(conversation_pb2.Reply(message_id=service.message().message_id, **outcome))
        return socket.receive_json()

    value = message_pb2.google_dot_protobuf_dot_struct__pb2.Value
    assert exchange(result=value(string_value="é")) == answer(1, result="é")
    assert exchange(result_json=b"null") == answer(1, result=None)
    error = conversation_pb2.JsonRpcError(code=-7, message='no "way"')
    assert exchange(error=error) == answer(1, error={"code": -7, "message": 'no "way"'})
    error.data_json = b"[1]"
    assert exchange(error=error) == answer(1, error={"code": -7, "message": 'no "way"', "data": [1]})
    error = b'{"code":1,"message":"m","data":{}}'
    assert exchange(error_json=error) == answer(1, error=json.loads(error))


@pytest.mark.parametrize("reply, field", [
    (dict(), "reply"),
    (dict(result_json=b"{"), "reply.result_json"),
    # An echo of what a client may send, nested once more: too deep.
    (dict(result_json=b"[" * 32 + b"]" * 32), "reply.result_json"),
    (dict(error_json=b"{}"), "reply.error_json"),
    (dict(error=conversation_pb2.JsonRpcError(data_json=b"x")), "reply.error.data_json"),
])
def test_a_reply_that_is_none_is_an_error_and_the_stream_goes_on(broker, attach, reply, field):
    service = attach(broker, messages=messages("*"))
    socket = broker.join("a1")
    for id in (1, 2):
        request(socket, id, "m")
        asked = service.message()
        if id == 1:
            service.stream.reply(conversation_pb2.Reply(message_id=asked.message_id, report=7, **reply))
            told = service.next("report")
            assert (told.report, told.outcome) == (7, message_pb2.SEND_OUTCOME_UNFIT)
            assert broker.wait_for_log("unfit")["why"].startswith(field + ":")
    assert socket.receive_json() == answer(1, error={"code": -32603, "message": "The reply is malformed"})
    service.reply(asked, "2")
    assert socket.receive_json() == answer(2, result=2)


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


def test_notifications_before_a_reply_arrive_before_it(broker, attach):
    service = attach(broker, messages=messages("*"))
    socket = broker.join("a1")
    request(socket, 7, "m")
    asked = service.message()
    for n in range(3):
        service.stream.send(asked.connection_id, notification("progress", n=n))
    service.reply(asked, "1")
    assert [socket.receive_json().get("params") for _ in range(3)] == [{"n": n} for n in range(3)]
    assert socket.receive_json() == answer(7, result=1)


def test_a_reply_can_revoke_its_own_socket(broker, attach):
    service = attach(broker, messages=messages("*"))
    socket = broker.join("a1", session="s1")
    request(socket, 1, "logout")
    service.reply(service.message(), '"bye"', report=5)
    report = service.next("report")
    assert (report.report, report.outcome) == (5, message_pb2.SEND_OUTCOME_QUEUED)
    service.client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(
        token_hash="s1", drain_for={"seconds": 2}))
    assert socket.receive_json() == answer(1, result="bye")
    assert socket.closed() == REVOKED


def test_reports_say_what_became_of_it(broker, attach):
    service = attach(broker, messages=messages("*"))
    socket = broker.join("a1")
    service.stream.send(socket.id, notification(), report=1)
    service.stream.send("01a00000-0000-7000-8000-000000000000", notification(), report=2)
    service.stream.reply(conversation_pb2.Reply(message_id=77, result_json=b"1", report=3))
    outcomes = {r.report: r.outcome for r in (service.next("report") for _ in range(3))}
    assert outcomes == {1: message_pb2.SEND_OUTCOME_QUEUED, 2: message_pb2.SEND_OUTCOME_GONE,
                        3: message_pb2.SEND_OUTCOME_GONE}


def test_a_send_that_the_client_may_not_get_says_so(broker, attach):
    service = attach(broker, messages=messages("*"))
    socket = broker.join("a1")
    deep = message_pb2.Message()
    deep.notification.method = "m"
    deep.notification.params_json = b"[" * 32 + b"]" * 32
    sends = [(socket.id, message_pb2.Message(binary=b"x")), (socket.id, message_pb2.Message(text="no JSON-RPC")),
             (socket.id, notification(text="x" * (1 << 20))), (socket.id, deep), (socket.id, message_pb2.Message()),
             ("nobody", notification())]
    for report, (connection_id, message) in enumerate(sends, 1):
        service.stream.send(connection_id, message, report=report)
        told = service.next("report")
        assert (told.report, told.outcome) == (report, message_pb2.SEND_OUTCOME_UNFIT)
    assert broker.wait_for_log("unfit")["why"]
    service.stream.send(socket.id, notification("last"))
    assert socket.receive_json()["method"] == "last"


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
    assert other.receive_json() == answer(3, result=None)


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
    assert socket.receive_json() == answer(1, result=None)


def test_a_client_cancels(broker, attach):
    service = attach(broker, messages=messages("*"))
    socket = broker.join("a1")
    request(socket, 1, "slow")
    asked = service.message()
    notify(socket, "cancel", {"request_id": 1})
    assert socket.receive_json()["error"]["code"] == -32800
    cancelled = service.next("request_cancelled")
    assert cancelled.message_id == asked.message_id and cancelled.cause == Cancelled.CAUSE_CLIENT
    # Too late; and what is unknown, over or wrong is silence.
    service.reply(asked, "1")
    for params in ({"request_id": 1}, {"request_id": "1"}, {}, [1]):
        notify(socket, "cancel", params)
    request(socket, 2, "next")
    service.reply(service.message(), "2")
    assert socket.receive_json() == answer(2, result=2)


def test_a_service_hears_that_the_client_left_or_was_revoked(broker, attach):
    service = attach(broker, messages=messages("*"), match_all=True)
    leaver = broker.join("a1", session="s1")
    assert service.next("connection_admitted").connection.connection_id == leaver.id
    request(leaver, 1, "m")
    asked = service.message()
    leaver.close()
    told = {service.next().WhichOneof("message") for _ in range(2)}
    assert told == {"request_cancelled", "connection_closed"}
    revoked = broker.join("a2", session="s2")
    service.next("connection_admitted")
    request(revoked, 1, "m")
    asked = service.message()
    close_account(broker, "a2")
    told = [service.next() for _ in range(2)]
    told.sort(key=lambda t: t.WhichOneof("message"))
    closed, cancelled = told[0].connection_closed, told[1].request_cancelled
    assert cancelled.message_id == asked.message_id
    assert cancelled.cause == Cancelled.CAUSE_CONNECTION_CLOSED
    assert closed.connection.identity.token_hash == "s2" and closed.cause == attach_pb2.ConnectionClosed.CAUSE_REVOKED


def test_the_admission_is_told_before_the_first_message(start_broker, attach):
    broker = start_broker(config={"endpoints": [{"path": "/ws", "ways": ["MANUAL"], "pending_timeout": "1m"}]})
    service = attach(broker, messages=messages("*"), match_all=True)
    socket = broker.connect()
    for n in range(256):
        notify(socket, "m", [n])
    socket.ping()
    (pending,) = broker.list()
    service.client.add_connection(pb.AddConnectionRequest(
        connection_id=pending.connection_id, identity=identity("a1")))
    assert service.next("connection_admitted").connection.connection_id == pending.connection_id
    for n in range(256):
        assert json.loads(service.message("notification").notification.params_json) == [n]


def test_more_than_256_frames_before_admission_are_too_many(start_broker):
    broker = start_broker(config={"endpoints": [{"path": "/ws", "ways": ["MANUAL"], "pending_timeout": "1m"}]})
    socket = broker.connect()
    for n in range(257):
        notify(socket, "m", [n])
    assert socket.closed()[0] == 1008


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
    assert socket.receive_json() == answer(2, result=2)
    first.reply(asked, "1")
    assert socket.receive_json() == answer(1, result=1)
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
        assert socket.receive_json() == answer(1, result=1)
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
    assert mine.receive_json() == answer(1, result=None)
    service.stream.send(mine.id, notification())
    assert service.end().reason == "ROLE_MISSING"
    service = attach(broker, messages=messages("*"), api_key=key_of("both"))
    service.stream.send(other.id, notification(), report=1)
    assert service.next("report").outcome == message_pb2.SEND_OUTCOME_GONE
    service.stream.send(mine.id, notification(), report=2)
    assert service.next("report").outcome == message_pb2.SEND_OUTCOME_QUEUED


def test_strict_order_is_one_at_a_time(start_broker, attach):
    broker = start_broker(config={"endpoints": [{"path": "/ws", "message_order": "STRICT"}]})
    service = attach(broker, messages=messages("*"))
    socket = broker.join("a1")
    for n in range(20):
        request(socket, n, "m", [n])
    for n in range(20):
        asked = service.message()
        assert json.loads(asked.request.params_json) == [n]
        assert service.quiet()
        service.reply(asked, str(n))
    assert [socket.receive_json()["result"] for _ in range(20)] == list(range(20))


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


def test_a_trace_goes_through(broker, attach):
    service = attach(broker, messages=messages("*"))
    socket = broker.join("a1")
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    socket.send(json.dumps({"jsonrpc": "2.0", "method": "m", "traceparent": trace}))
    assert service.message("notification").traceparent == trace
    notify(socket, "m")
    assert service.message("notification").traceparent == ""


def test_replies_to_nobody_are_counted(broker):
    socket = broker.join("a1")
    for id in ("s1", 5, None):
        body = {"result": 1} if id is not None else {"error": {"code": 1, "message": "m"}}
        socket.send(json.dumps(answer(id, **body)))
    socket.ping()
    wait_until(lambda: broker.metric("client_replies_unmatched_total") == 3, "the count")


def test_a_service_that_stops_reading_is_not_buffered_for(start_broker):
    # AddressSanitizer would keep what is freed.
    frees = "ASAN_OPTIONS=" + os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    broker = start_broker(under=["env", frees], config={
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
