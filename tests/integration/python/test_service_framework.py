"""The Python service framework on the real daemon."""

import queue
import threading

import pytest

from harness.broker import PATIENCE, identity
from harness.checks import REVOKED
from harness.framework import error, notify, request, result
from harness.revoke import close_account
from socketbroker import JsonRpcError, Refusal
from socketbroker.v1 import attach_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

def echo(service):
    service.on("*", lambda params, context: params)


def test_requests_replies_and_errors(broker, serve):
    seen = []

    def prepare(service):
        @service.on("orders.create")
        def create(params, context):
            seen.append(context)
            return {"made": params, "by": context.identity.account_id}

        @service.on("orders.*")
        def any_order(params, context):
            raise JsonRpcError(7, "no such order", {"method": context.method})

        @service.on("returned")
        def returned(params, context):
            return JsonRpcError(8, "so so")

        @service.on("nothing")
        def nothing(params, context):
            assert params is None

        echo(service)

    serve(broker, prepare)
    socket = broker.join("a1", session="s1", labels={"team": "blue"})
    request(socket, 1, "orders.create", {"n": 1.5, "é": ["\U0001f600"]})
    assert socket.receive_json() == result(1, {"made": {"n": 1.5, "é": ["\U0001f600"]}, "by": "a1"})
    request(socket, "2", "orders.list")
    assert socket.receive_json() == error("2", 7, "no such order", data={"method": "orders.list"})
    request(socket, 3, "returned")
    assert socket.receive_json() == error(3, 8, "so so")
    request(socket, 4, "nothing")
    assert socket.receive_json() == result(4, None)
    request(socket, 5, "orders", [1])
    assert socket.receive_json() == result(5, [1])
    (context,) = seen
    assert (context.method, context.connection_id, context.is_notification) == ("orders.create", socket.id, False)
    assert context.identity == identity("a1", session="s1", labels={"team": "blue"})
    assert (context.endpoint, context.remote_address, context.sequence) == ("/ws", "127.0.0.1", 1)
    assert context.remote_port > 0 and context.traceparent == "" and not context.cancelled.is_set()


def test_a_fault_of_a_handler_is_logged_and_not_told(broker, serve, caplog):
    nested = []
    for _ in range(31):
        nested = [nested]
    values = {"raises": None, "set": {1}, "deep": nested, "nan": float("nan"), "huge": 10 ** 400,
              "twice": {1: 1, "1": 2}, "surrogate": "\ud800", "error": JsonRpcError(1, "m", data={1})}

    def answer(params, context):
        if context.method == "raises":
            raise RuntimeError("the secret")
        return values[context.method]

    serve(broker, lambda service: service.on("*", answer))
    socket = broker.join("a1")
    for n, method in enumerate(values):
        request(socket, n, method)
        assert socket.receive_json() == error(n, -32603, "Internal error"), method
    values["last"] = nested[0]
    request(socket, 99, "last")
    assert socket.receive_json()["id"] == 99
    assert caplog.text.count("the handler failed for") == len(values) - 1
    assert "the secret" in caplog.text and socket.id in caplog.text


def test_a_result_that_is_far_too_long_is_its_own_fault(broker, serve):
    """And not that of those who wait for another reply on the same stream."""
    waiting, end = threading.Event(), threading.Event()

    def wait(params, context):
        waiting.set()
        assert end.wait(PATIENCE)

    def prepare(service):
        service.on("wait", wait)
        service.on("long", lambda params, context: (5 << 20) * "x")

    serve(broker, prepare)
    socket = broker.join("a1")
    request(socket, 1, "wait")
    assert waiting.wait(PATIENCE)
    request(socket, 2, "long")
    assert socket.receive_json() == error(2, -32603, "Internal error")
    end.set()
    assert socket.receive_json() == result(1, None)


def test_notifications_come_before_the_reply(broker, serve):
    def work(params, context):
        for n in range(100):
            context.notify("progress", {"n": n})
        with pytest.raises(ValueError, match="reserved"):
            context.notify("rpc.progress")
        with pytest.raises(TypeError, match="params"):
            context.notify("progress", 5)
        return "done"

    serve(broker, lambda service: service.on("work", work))
    socket = broker.join("a1")
    request(socket, 1, "work")
    assert [socket.receive_json()["params"]["n"] for _ in range(100)] == list(range(100))
    assert socket.receive_json() == result(1, "done")


def test_notifications_of_clients_get_no_reply(broker, serve):
    seen = queue.Queue()

    def hear(params, context):
        seen.put((params, context.is_notification))
        if params:
            raise JsonRpcError(1, "nobody hears this")
        return "nor this"

    serve(broker, lambda service: service.on("*", hear))
    socket = broker.join("a1")
    for params in ([], [1], None):
        notify(socket, "m", params)
    assert sorted((seen.get(timeout=PATIENCE) for _ in range(3)), key=str) == [
        (None, True), ([1], True), ([], True)]
    request(socket, 1, "m")
    assert socket.receive_json() == result(1, "nor this")


def test_a_client_cancels_or_leaves(broker, serve):
    waiting, ended = queue.Queue(), queue.Queue()

    def work(params, context):
        waiting.put(context)
        assert context.cancelled.wait(PATIENCE)
        ended.put(context.connection_id)
        return "too late"

    def prepare(service):
        service.on("work", work)
        service.on("next", lambda params, context: "next")

    serve(broker, prepare)
    socket = broker.join("a1")
    request(socket, 1, "work")
    assert not waiting.get(timeout=PATIENCE).cancelled.is_set()
    notify(socket, "cancel", {"request_id": 1})
    assert socket.receive_json()["error"]["code"] == -32800
    assert ended.get(timeout=PATIENCE) == socket.id
    request(socket, 2, "next")
    assert socket.receive_json() == result(2, "next")
    request(socket, 3, "work")
    waiting.get(timeout=PATIENCE)
    close_account(broker, "a1")
    assert ended.get(timeout=PATIENCE) == socket.id
    assert socket.closed() == REVOKED


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_so_many_are_handled_at_once(broker, serve, concurrency):
    mutex, now, most = threading.Lock(), [0], [0]
    full = threading.Event()

    def work(params, context):
        with mutex:
            now[0] += 1
            most[0] = max(most[0], now[0])
            if now[0] == concurrency:
                full.set()
        assert full.wait(PATIENCE)
        with mutex:
            now[0] -= 1

    serve(broker, lambda service: service.on("*", work), concurrency=concurrency)
    socket = broker.join("a1")
    for n in range(50):
        request(socket, n, "m")
    assert {socket.receive_json()["id"] for _ in range(50)} == set(range(50))
    assert most[0] == concurrency


def test_what_is_slow_keeps_nothing_back_that_is_not(broker, serve):
    """All but one of the handlers stand still: the last one serves everybody."""
    end, stuck = threading.Event(), queue.Queue()

    def stand(params, context):
        stuck.put(True)
        assert end.wait(PATIENCE)

    def prepare(service):
        service.on("stand", stand)
        echo(service)

    serve(broker, prepare, concurrency=8)
    socket = broker.join("a1")
    for n in range(7):
        request(socket, f"s{n}", "stand")
        stuck.get(timeout=PATIENCE)
    for n in range(50):
        request(socket, n, "m", [n])
        assert socket.receive_json() == result(n, [n])
    end.set()
    assert {socket.receive_json()["id"] for _ in range(7)} == {f"s{n}" for n in range(7)}


RAW = {"endpoints": [{"path": "/ws", "framing": "RAW"}]}


def test_raw_messages_are_echoed_in_order(start_broker, serve):
    def echo_raw(message, context):
        assert context.method == "" and not context.is_notification
        context.send(message)

    broker = start_broker(config=RAW)
    serve(broker, lambda service: service.on_message(echo_raw), concurrency=4)
    sockets = [broker.join(f"a{n}") for n in range(3)]
    said = [str(n) if n % 2 else bytes([n]) for n in range(100)]
    for message in said:
        for socket in sockets:
            socket.send(message)
    for socket in sockets:
        assert [socket.receive() for _ in said] == said


def test_a_message_that_no_client_may_get_is_not_the_end(start_broker, serve):
    broker = start_broker(config=RAW | {"endpoints": [{"path": "/ws", "framing": "RAW", "max_message_bytes": 1000}]})
    serve(broker, lambda service: service.on_message(lambda message, context: context.send(int(message) * "x")))
    socket = broker.join("a1")
    socket.send("1001")
    socket.send("1000")
    assert socket.receive() == 1000 * "x"


ATTACH = {"endpoints": [{"path": "/ws", "ways": ["TICKET", "ATTACH"], "offer_timeout": "0.1s",
                         "pending_timeout": "1m"}]}


def test_handshakes_are_admitted_or_refused(start_broker, serve, caplog):
    broken = threading.Event()

    def judge(handshake):
        (session,) = [cookie.value for cookie in handshake.cookies if cookie.name == "session"]
        if session == "broken" and not broken.is_set():
            broken.set()
            raise RuntimeError("the secret")
        if session == "returned":
            return Refusal()
        if session == "raised":
            raise Refusal("log in first")
        return identity("a1", session=session)

    def prepare(service):
        service.on_handshake(judge)
        echo(service)

    broker = start_broker(config=ATTACH)
    serve(broker, prepare, handshake_concurrency=1)

    def connect(session):
        return broker.connect(extra_headers={"Cookie": f"session={session}"})

    for session in ("good", "broken"):  # which is offered again
        socket = connect(session)
        request(socket, 1, "m", [session])
        assert socket.receive_json() == result(1, [session])
    assert "the secret" in caplog.text
    assert connect("raised").closed() == (4006, "log in first")
    assert connect("returned").closed() == (4006, "Not admitted")


def test_a_binding_that_is_refused_is_not_the_end(start_broker, serve):
    broker = start_broker(config=ATTACH)

    def judge(handshake):
        if handshake.query == "revoked":
            broker.client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(token_hash="s1"))
        if handshake.query == "bound":
            (pending,) = [c for c in broker.list() if c.query == "bound"]
            broker.client.add_connection(pb.AddConnectionRequest(
                connection_id=pending.connection_id, identity=identity("a2")))
        return identity("a1", session="s1")

    def prepare(service):
        service.on_handshake(judge)
        service.on("*", lambda params, context: context.identity.account_id)

    serve(broker, prepare, handshake_concurrency=1)
    assert broker.connect(query="revoked").closed() == (4006, "Not admitted")
    for n, (query, account) in enumerate([("bound", "a2"), ("", "a1")]):
        socket = broker.connect(query=query)
        request(socket, n, "m")
        assert socket.receive_json() == result(n, account)


@pytest.mark.parametrize("events_filter, seen", [(None, ["a1", "a2"]), ('account_id = "a2"', ["a2"])])
def test_events_are_told_in_order(broker, serve, events_filter, seen):
    told = queue.Queue()

    def prepare(service):
        @service.on_admitted
        def admitted(connection):
            told.put(("admitted", connection.identity.account_id, list(connection.identity.groups)))
            raise RuntimeError("logged, and no more")

        @service.on_updated
        def updated(connection):
            told.put(("updated", connection.identity.account_id, list(connection.identity.groups)))

        @service.on_closed
        def closed(event):
            told.put((event.code, event.connection.identity.account_id, list(event.connection.identity.groups)))
            assert event.cause == attach_pb2.ConnectionClosed.CAUSE_REVOKED

    serve(broker, prepare, events_filter=events_filter)
    for account in ("a1", "a2"):
        broker.join(account, groups=["g"])
        broker.client.update_connections_filtered(pb.UpdateConnectionsFilteredRequest(
            filter=f'account_id = "{account}"', add_groups=["h"]))
        close_account(broker, account)
    assert [told.get(timeout=PATIENCE) for _ in range(3 * len(seen))] == [
        each for account in seen for each in
        [("admitted", account, ["g"]), ("updated", account, ["g", "h"]), (4001, account, ["g", "h"])]]


def test_more_events_than_one_credit(broker, serve):
    versions = queue.Queue()

    def prepare(service):
        service.on_admitted(lambda connection: versions.put(connection.version))
        service.on_updated(lambda connection: versions.put(connection.version))

    serve(broker, prepare)
    socket = broker.join("a1")
    for n in range(1500):
        broker.client.update_connections_filtered(pb.UpdateConnectionsFilteredRequest(
            match_all=True, set_labels={"n": str(n)}))
    assert [versions.get(timeout=PATIENCE) for _ in range(1501)] == list(range(1, 1502))
    assert socket.is_open()


def test_only_the_filtered_connections_are_served(broker, serve):
    serve(broker, echo, filter='account_id = "a1"')
    mine, other = broker.join("a1"), broker.join("a2")
    request(mine, 1, "m", [1])
    assert mine.receive_json() == result(1, [1])
    request(other, 1, "m", [1])
    assert other.receive_json()["error"]["code"] == -32601


def test_a_trace_goes_through(broker, serve):
    serve(broker, lambda service: service.on("*", lambda params, context: context.traceparent))
    socket = broker.join("a1")
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    request(socket, 1, "m", traceparent=trace)
    assert socket.receive_json() == result(1, trace)
