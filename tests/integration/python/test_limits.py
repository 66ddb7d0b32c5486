"""Every limit: what it answers, and that it gives back what was freed."""

import json
import select

import pytest

from harness import raw
from harness.broker import identity
from harness.checks import fails, notification, refused
from socketbroker.v1 import connection_pb2, message_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

BOTH_WAYS = [{"path": "/ws", "ways": ["TICKET", "MANUAL"]}]


def limited(start_broker, endpoint=None, **limits):
    return start_broker(config={"endpoints": [{**BOTH_WAYS[0], **(endpoint or {})}], "limits": limits})


def test_connections_in_all_503(start_broker):
    broker = limited(start_broker, max_connections=3)
    sockets = [broker.join("a1"), broker.join("a2"), broker.pend()]
    for _ in range(2):
        with refused(503):
            broker.connect(broker.ticket("a3"))
    sockets[2].close()
    broker.wait_connections(lambda: len(broker.list()) == 2, "a free place")
    broker.connect(broker.ticket("a3"))
    with refused(503):
        broker.connect()
    assert broker.metric("handshakes_total", result="503") == 3


def test_refused_for_the_limit_keeps_its_ticket(start_broker):
    broker = limited(start_broker, max_connections=1)
    first, ticket = broker.join("a1"), broker.ticket("a2")
    with refused(503):
        broker.connect(ticket)
    first.close()
    broker.wait_connections(lambda: broker.list() == [], "a free place")
    broker.connect(ticket)


def test_connections_of_one_address_429(start_broker):
    broker = limited(start_broker, max_connections_per_address=2)
    first = broker.join("a1")
    broker.join("a2")
    with refused(429):
        broker.connect(broker.ticket("a3"))
    assert broker.metric("handshakes_total", result="429") == 1
    first.close()
    broker.wait_connections(lambda: len(broker.list()) == 1, "a free place")
    broker.connect(broker.ticket("a3"))


def test_connections_of_one_account(start_broker):
    broker = limited(start_broker, max_connections_per_account=2)
    first, _ = broker.join("a1"), broker.join("a1")
    with refused(429):
        broker.connect(broker.ticket("a1"))
    broker.join("a2")
    pending = broker.pend()
    with fails("RESOURCE_EXHAUSTED", "CONNECTION_LIMIT"):
        broker.client.add_connection(pb.AddConnectionRequest(connection_id=pending.id, identity=identity("a1")))
    assert pending.closed()[0] == 4004
    assert broker.metric("handshakes_total", result="429") == 1
    broker.wait_connections(lambda: broker.metric("closes_total", code="4004") == 1, "the close to be counted")
    first.close()
    broker.wait_connections(lambda: broker.count('account_id = "a1"') == 1, "a free place")
    broker.join("a1")


def test_account_that_is_revoked_has_its_places_back(start_broker):
    broker = limited(start_broker, max_connections_per_account=1)
    socket = broker.join("a1")
    broker.client.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id="a1"))
    socket.closed()
    broker.wait_connections(lambda: broker.list() == [], "the closed one to be gone")
    broker.join("a1")


def test_pending_connections_503(start_broker):
    broker = limited(start_broker, max_pending_connections=2)
    pending = [broker.pend(), broker.pend()]
    with refused(503):
        broker.connect()
    broker.join("a1")
    broker.client.add_connection(pb.AddConnectionRequest(connection_id=pending[0].id, identity=identity("a2")))
    broker.pend()
    with refused(503):
        broker.connect()


def test_header_431(start_broker):
    broker = limited(start_broker, max_header_bytes=2000)
    ok = broker.exchange(raw.request(headers={"X": "x" * 1500}))
    assert ok.status == 101
    for size in (2000, 100_000):
        answer = broker.exchange(raw.request(headers={"X": "x" * size}))
        assert answer.status == 431
    assert broker.metric("handshakes_total", result="431") == 2


def test_handshake_time(start_broker):
    broker = limited(start_broker, handshake_timeout="0.4s")
    silent, slow = broker.dial(), broker.dial()
    try:
        for byte in raw.request():
            slow.sendall(bytes([byte]))
            # Slow is what this client is, until it is cut off.
            if select.select([slow], [], [], 0.01)[0]:
                break
    except ConnectionError:
        pass
    for connection in (silent, slow):
        rest = raw.Reader(connection).rest()
        assert rest == b"" or rest.startswith(b"HTTP/1.1 408")
    assert broker.metric("handshake_timeouts_total") == 2
    broker.join("a1")


@pytest.mark.parametrize("size, fits", [(1000, True), (1001, False)])
def test_message_size(start_broker, size, fits):
    broker = limited(start_broker, {"max_message_bytes": 1000})
    frame = '{"jsonrpc":"2.0","method":"m","params":["%s"]}'
    text = frame % ("x" * (size - len(frame) + 2))
    assert len(text) == size
    socket, sender = broker.join("a1"), broker.join("a2")
    sender.send(text)
    if fits:
        assert sender.is_open()
        broker.client.send_to_account(
            pb.SendToAccountRequest(account_id="a1", message=message_pb2.Message(text=text)))
        assert socket.receive() == text
    else:
        assert sender.closed()[0] == 1009
        broker.wait_connections(lambda: broker.metric("closes_total", code="1009") == 1, "the close to be counted")
        with fails("INVALID_ARGUMENT"):
            broker.client.send_to_account(
                pb.SendToAccountRequest(account_id="a1", message=message_pb2.Message(text=text)))


def test_outbox_4008(start_broker):
    broker = limited(start_broker, {"max_message_bytes": 10_000, "max_outbox_bytes": 20_000})
    socket = broker.raw_socket(broker.ticket("slow"), receive_buffer=4096)
    (connection,) = broker.list()
    text = json.dumps({"jsonrpc": "2.0", "method": "m", "params": ["x" * 9000]})
    for _ in range(1000):
        sent = broker.client.send(pb.SendRequest(message=message_pb2.Message(text=text)))
        if sent.dropped_slow:
            break
    assert sent.dropped_slow == 1
    after = broker.list()
    assert all(c.state == connection_pb2.CONNECTION_STATE_CLOSING and c.close_code == 4008 for c in after)
    broker.wait_connections(lambda: broker.list() == [], "the slow one to be gone")
    assert broker.metric("closes_total", code="4008") == 1
    assert broker.metric("messages_dropped_total", direction="out") == 1
    socket.abort()
    with fails("NOT_FOUND"):
        broker.client.send_to_connection(
            pb.SendToConnectionRequest(connection_id=connection.connection_id, message=notification()))


def test_pings_in_a_second(start_broker):
    broker = limited(start_broker, max_pings_per_second=5)
    socket = broker.raw_socket(broker.ticket("a1"))
    try:
        for _ in range(50):
            socket.send(raw.PING, b"x")
    except ConnectionError:
        pass
    frames = socket.frames()
    assert frames[-1].opcode == raw.CLOSE and frames[-1].close_code == 1008
    assert len(frames) <= 12


def test_silent_client_is_closed_4003(start_broker):
    broker = limited(start_broker, ping_interval="0.2s", pong_timeout="0.2s")
    silent, alive = broker.raw_socket(broker.ticket("a1")), broker.join("a2")
    frames = silent.frames()
    assert frames[0].opcode == raw.PING
    assert frames[-1].opcode == raw.CLOSE and frames[-1].close_code == 4003
    assert alive.is_open() and broker.count() == 1


def test_descriptors_are_raised_and_sockets_stay_below(start_broker):
    broker = start_broker()
    import resource

    soft, hard = resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE)
    assert soft == hard
    limit = broker.client.get_broker_info(pb.GetBrokerInfoRequest()).limits.max_connections
    assert 0 < limit <= soft - 512
