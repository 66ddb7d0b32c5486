"""What clients say to services over Attach, and what they get, on the real daemon."""

import json

import pytest

from harness.broker import identity
from harness.checks import REVOKED, notification
from harness.framework import notify, request, result
from harness.revoke import close_account
from harness.service import messages
from socketbroker.v1 import attach_pb2, conversation_pb2, message_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

Cancelled = conversation_pb2.RequestCancelled


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
    assert exchange(result=value(string_value="é")) == result(1, "é")
    assert exchange(result_json=b"null") == result(1, None)
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


def test_notifications_before_a_reply_arrive_before_it(broker, attach):
    service = attach(broker, messages=messages("*"))
    socket = broker.join("a1")
    request(socket, 7, "m")
    asked = service.message()
    for n in range(3):
        service.stream.send(asked.connection_id, notification("progress", n=n))
    service.reply(asked, "1")
    assert [socket.receive_json().get("params") for _ in range(3)] == [{"n": n} for n in range(3)]
    assert socket.receive_json() == result(7, 1)


def test_a_reply_can_revoke_its_own_socket(broker, attach):
    service = attach(broker, messages=messages("*"))
    socket = broker.join("a1", session="s1")
    request(socket, 1, "logout")
    service.reply(service.message(), '"bye"', report=5)
    report = service.next("report")
    assert (report.report, report.outcome) == (5, message_pb2.SEND_OUTCOME_QUEUED)
    service.client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(
        token_hash="s1", drain_for={"seconds": 2}))
    assert socket.receive_json() == result(1, "bye")
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
    assert socket.receive_json() == result(2, 2)


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
    assert broker.metric("client_replies_unmatched_total") == 3
