"""Services ask clients: RequestConnection and RequestFiltered on the real daemon."""

import concurrent.futures
import json

import grpc
import pytest

from harness.broker import PATIENCE
from harness.callers import caller, configured, key_of
from harness.checks import fails
from harness.revoke import close_account
from socketbroker.v1 import conversation_pb2, socket_broker_pb2_grpc

Failure = conversation_pb2.RequestFilteredResponse
NOBODY = "01a00000-0000-7000-8000-000000000000"


@pytest.fixture
def ask(broker):
    """Asks in the background: ask(connection_id) is a future of the reply."""
    with concurrent.futures.ThreadPoolExecutor(300) as threads:

        def ask(connection_id, method="who", **fields):
            return threads.submit(lambda: broker.client.request_connection(
                conversation_pb2.RequestConnectionRequest(
                    connection_id=connection_id, method=method, **fields)).reply)

        yield ask


def asked(socket, method="who"):
    """The id of the request that the client has got."""
    request = socket.receive_json()
    assert request["method"] == method and request["jsonrpc"] == "2.0", request
    return request["id"]


def reply(socket, id, **outcome):
    outcome = outcome or {"result": None}
    socket.send(json.dumps({"jsonrpc": "2.0", "id": id, **outcome}))


def cancelled(socket):
    told = socket.receive_json()
    assert told["method"] == "cancel" and "id" not in told, told
    return told["params"]["request_id"]


def test_ids_are_s_and_a_number_and_never_used_again(broker, ask):
    sockets = [broker.join("a1") for _ in range(2)]
    seen = []
    for round in range(6):
        socket = sockets[round % 2]
        future = ask(socket.id)
        seen.append(asked(socket))
        reply(socket, seen[-1], result=round)
        assert future.result().result.number_value == round
    assert all(id[0] == "s" and id[1:].isdigit() for id in seen) and len(set(seen)) == 6


def test_params_go_out_and_results_come_back_as_they_stand(broker, ask):
    socket = broker.join("a1")
    future = ask(socket.id, params_json=b'{ "n" : 1.50 }', want_json=True)
    text = socket.receive()
    assert text.endswith('"method":"who","params":{ "n" : 1.50 }}')
    id = json.loads(text)["id"]
    socket.send('{"jsonrpc":"2.0","result": { "b" : 1.50 } ,"id":"%s"}' % id)
    assert future.result().result_json == b'{ "b" : 1.50 }'
    request = conversation_pb2.RequestConnectionRequest(connection_id=socket.id, method="who")
    request.params_struct.update({"a": [1]})
    future = ask(socket.id, params_struct=request.params_struct)
    got = socket.receive_json()
    assert got["params"] == {"a": [1]}
    reply(socket, got["id"], result={"x": "é"})
    assert future.result().result.struct_value["x"] == "é"


def test_without_params_there_is_no_member(broker, ask):
    socket = broker.join("a1")
    future = ask(socket.id)
    got = socket.receive_json()
    assert "params" not in got
    reply(socket, got["id"])
    assert future.result().WhichOneof("outcome") == "result"


def test_the_client_s_error_comes_back_verbatim(broker, ask):
    socket = broker.join("a1")
    future = ask(socket.id)
    error = '{ "code" : -5, "message":"nö", "data":[1.50] }'
    socket.send('{"jsonrpc":"2.0","id":"%s","error":%s}' % (asked(socket), error))
    assert future.result().error_json == error


def test_replies_on_another_socket_late_twice_or_unasked_settle_nothing(broker, ask):
    one, two = broker.join("a1"), broker.join("a1")
    future = ask(one.id)
    id = asked(one)
    reply(two, id, result="stranger")
    two.ping()
    assert not future.done()
    for junk in (1, id.upper(), id + "0", "x"):
        reply(one, junk, result="junk")
    socket_text = {"jsonrpc": "2.0", "id": id, "method": "m", "result": 1}  # no reply, no request
    one.send(json.dumps(socket_text))
    assert one.receive_json()["error"]["code"] == -32600
    assert not future.done()
    reply(one, id, result="mine")
    assert future.result().result.string_value == "mine"
    reply(one, id, result="again")
    one.ping()
    assert one.is_open() and two.is_open()
    assert broker.metric("client_replies_unmatched_total") == 6
    # At most a line a second, and nothing of what they said.
    broker.wait_for_log("reply_unmatched")
    assert len(broker.events("reply_unmatched")) <= 3 and "junk" not in broker.log()


def test_who_does_not_reply_in_time_is_told(broker, ask):
    socket = broker.join("a1")
    future = ask(socket.id, timeout={"nanos": 200_000_000})
    id = asked(socket)
    with fails("DEADLINE_EXCEEDED"):
        future.result()
    assert cancelled(socket) == id
    reply(socket, id)  # too late
    assert socket.is_open()


def test_the_caller_s_own_deadline_counts(broker):
    socket = broker.join("a1")
    with fails("DEADLINE_EXCEEDED"):
        broker.client.request_connection(conversation_pb2.RequestConnectionRequest(
            connection_id=socket.id, method="who"), timeout=0.2)
    id = asked(socket)
    assert cancelled(socket) == id


def test_a_call_that_is_cancelled_tells_the_client(broker):
    socket = broker.join("a1")
    with grpc.insecure_channel(broker.control) as channel:
        call = socket_broker_pb2_grpc.SocketBrokerStub(channel).RequestConnection.future(
            conversation_pb2.RequestConnectionRequest(connection_id=socket.id, method="who"))
        id = asked(socket)
        call.cancel()
        assert cancelled(socket) == id


def test_a_connection_that_ends_meanwhile(broker, ask):
    socket = broker.join("a1")
    future = ask(socket.id)
    asked(socket)
    socket.close()
    with fails("ABORTED", reason="CONNECTION_GONE"):
        future.result()
    socket = broker.join("a2")
    future = ask(socket.id)
    asked(socket)
    close_account(broker, "a2")
    with fails("ABORTED", reason="CONNECTION_GONE"):
        future.result()


def test_who_cannot_be_asked(start_broker):
    broker = start_broker(config={"endpoints": [
        {"path": "/ws", "ways": ["TICKET", "MANUAL"]}, {"path": "/raw", "namespace": "raw", "framing": "RAW"}]})

    def ask(connection_id, method="who", **fields):
        broker.client.request_connection(conversation_pb2.RequestConnectionRequest(
            connection_id=connection_id, method=method, **fields))

    with fails("NOT_FOUND", reason="CONNECTION_NOT_FOUND"):
        ask(NOBODY)
    with fails("FAILED_PRECONDITION", reason="CONNECTION_PENDING"):
        ask(broker.pend().id)
    with fails("FAILED_PRECONDITION", reason="FRAMING_RAW"):
        ask(broker.join("a1", path="/raw", namespace="raw").id)
    mine = broker.join("a1").id
    for field, wrong in [("connection_id", dict(connection_id="x")), ("method", dict(method="")),
                         ("method", dict(method="rpc.x")), ("method", dict(method="m" * 257)),
                         ("params_json", dict(params_json=b"1")), ("timeout", dict(timeout={"seconds": 3601})),
                         ("timeout", dict(timeout={"seconds": 0})),
                         ("params", dict(params_json=b'["%s"]' % (b"x" * (1 << 20))))]:
        with fails("INVALID_ARGUMENT", field=field):
            ask(**{"connection_id": mine, **wrong})
    with fails("FAILED_PRECONDITION", reason="FRAMING_RAW"):
        next(broker.client.request_filtered(conversation_pb2.RequestFilteredRequest(
            namespace="raw", match_all=True, method="m")))


def test_the_257th_is_refused_and_nothing_sent(broker, ask):
    socket = broker.join("a1")
    futures = [ask(socket.id) for _ in range(256)]
    ids = [asked(socket) for _ in range(256)]
    with fails("RESOURCE_EXHAUSTED", reason="TOO_MANY_IN_FLIGHT"):
        ask(socket.id).result()
    other = broker.join("a1")
    future = ask(other.id)  # each connection has 256 of its own
    reply(other, asked(other))
    future.result()
    reply(socket, ids[7], result=7)
    concurrent.futures.wait(futures, PATIENCE, concurrent.futures.FIRST_COMPLETED)
    assert sum(f.done() for f in futures) == 1
    futures.append(ask(socket.id))
    ids.append(asked(socket))
    for id in ids[:7] + ids[8:]:
        reply(socket, id)
    for future in futures:
        future.result()


def test_everybody_is_asked(broker):
    sockets = [broker.join("a1") for _ in range(4)]
    broker.join("a2")
    replies = broker.client.request_filtered(conversation_pb2.RequestFilteredRequest(
        filter='account_id = "a1"', method="who", timeout={"seconds": 1},
        exclude_connection_ids=[sockets[3].id]))
    reply(sockets[0], asked(sockets[0]), result=1)
    first = next(replies)
    assert first.connection_id == sockets[0].id and first.reply.result.number_value == 1
    reply(sockets[1], asked(sockets[1]), error={"code": 7, "message": "no"})
    second = next(replies)
    assert second.connection_id == sockets[1].id and json.loads(second.reply.error_json)["code"] == 7
    third = next(replies)
    assert third.connection_id == sockets[2].id and third.failure == Failure.FAILURE_TIMEOUT
    assert list(replies) == []
    id = asked(sockets[2])
    assert cancelled(sockets[2]) == id


def test_the_first_results_are_enough(broker):
    sockets = [broker.join("a1") for _ in range(4)]
    replies = broker.client.request_filtered(conversation_pb2.RequestFilteredRequest(
        match_all=True, method="who", max_results=2))
    ids = [asked(socket) for socket in sockets]
    reply(sockets[0], ids[0], error={"code": 7, "message": "no"})
    reply(sockets[1], ids[1], result=1)
    reply(sockets[2], ids[2], result=2)
    outcomes = {r.connection_id: r for r in replies}
    assert outcomes[sockets[3].id].failure == Failure.FAILURE_CANCELLED and len(outcomes) == 4
    assert cancelled(sockets[3]) == ids[3]


def test_a_call_that_ends_asks_no_longer(broker):
    socket = broker.join("a1")
    with broker.client.request_filtered(conversation_pb2.RequestFilteredRequest(
            match_all=True, method="who")):
        id = asked(socket)
    assert cancelled(socket) == id


def test_nobody_matches(broker):
    assert list(broker.client.request_filtered(conversation_pb2.RequestFilteredRequest(
        filter='account_id = "a1"', method="who"))) == []
    with fails("INVALID_ARGUMENT", field="selector"):
        next(broker.client.request_filtered(conversation_pb2.RequestFilteredRequest(method="who")))


def test_a_caller_asks_within_its_reach(start_broker):
    broker = start_broker(api_key=key_of("admin"), config=configured(
        caller("sender", "SEND", filter='account_id = "a1"'), caller("admin", "ADMIN")))
    mine, other = broker.join("a1"), broker.join("a2")
    client = broker.client_with(key_of("sender"))
    with fails("NOT_FOUND"):
        client.request_connection(conversation_pb2.RequestConnectionRequest(connection_id=other.id, method="m"))
    replies = client.request_filtered(conversation_pb2.RequestFilteredRequest(match_all=True, method="who"))
    reply(mine, asked(mine))
    assert [r.connection_id for r in replies] == [mine.id]
