"""What strangers do to the WebSocket port: it answers or hangs up, and goes on."""

import contextlib
import random
import socket
import struct

import pytest

from harness import raw
from harness.broker import wait_until
from harness.checks import notification
from socketbroker.v1 import socket_broker_pb2 as pb


@pytest.fixture(autouse=True)
def survives(broker):
    """Afterwards it serves as before, and holds no descriptor more."""
    broker.join("warm-up").close()
    broker.wait_connections(lambda: broker.list() == [], "the first client to be gone")
    before = broker.descriptors()
    yield
    wait_until(lambda: broker.descriptors() <= before, "its descriptors to be closed")
    client = broker.join("honest")
    broker.client.send(pb.SendRequest(message=notification("alive")))
    assert client.receive_json()["method"] == "alive"
    assert broker.count() == 1


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_bare_connects(broker):
    for number in range(100):
        connection = broker.dial()
        if number % 2:
            reset(connection)
        else:
            connection.close()


@pytest.mark.parametrize("path, headers, options, status", [
    ("/ws", {}, {"upgrade": False}, {426}),
    ("/ws", {}, {"method": "POST"}, {400, 405, 426}),
    ("/nowhere", {}, {}, {404}),
    ("/ws/", {}, {}, {404}),
    ("/ws", {"Host": None}, {}, {400}),
    ("/ws", {"Upgrade": "h2c"}, {}, {400, 426}),
    ("/ws", {"Connection": "close"}, {}, {400, 426}),
    ("/ws", {"Sec-WebSocket-Key": None}, {}, {400}),
    ("/ws", {"Sec-WebSocket-Key": "short"}, {}, {400}),
    ("/ws", {"Sec-WebSocket-Version": None}, {}, {400, 426}),
    ("/ws", {"Sec-WebSocket-Version": "0"}, {}, {400, 426}),
    ("/ws", {"Sec-WebSocket-Version": "7"}, {}, {400, 426}),
    ("/ws", {"Sec-WebSocket-Version": "8"}, {}, {400, 426}),
    ("/ws", {"Sec-WebSocket-Version": "13x"}, {}, {400, 426}),
    ("/ws", {"Content-Length": "5"}, {}, {400, 413}),
    ("/ws", {"Transfer-Encoding": "chunked"}, {}, {400, 413, 501}),
    ("/ws", {"X": "x" * 20_000}, {}, {431}),
    ("/" + "x" * 20_000, {}, {}, {414, 431}),
    ("/ws?" + "x" * 20_000, {}, {}, {414, 431}),
], ids=range(19))
def test_requests_that_are_no_handshake(broker, path, headers, options, status):
    answer = broker.exchange(raw.request(path, headers, **options))
    assert answer.status in status
    if answer.status == 426:
        assert answer.header("Sec-WebSocket-Version") == ["13"] or answer.header("Upgrade") == ["websocket"]


@pytest.mark.parametrize("data", [
    b"\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 200 + b"\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET\r\n\r\n", b"GET /ws HTTP/1.0\r\n\r\n", b"GET /ws HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nno colon\r\n\r\n", b"GET /ws HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
    b"G\xc3\x8bT /\xff\xfe HTTP/1.1\r\n\r\n", b"A" * 30_000,
], ids=range(11))
def test_garbage_is_refused_or_hung_up_on(broker, data):
    with broker.dial() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
            # Not its own, which would end the reading of TLS, too.
            socket.socket.shutdown(connection, socket.SHUT_WR)
        answer = raw.Reader(connection).rest()
        assert answer == b"" or answer[:9] == b"HTTP/1.1 " and answer[9:10] in b"45"


def test_random_bytes(broker):
    source = random.Random(1)
    for _ in range(200):
        with broker.dial() as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(source.randbytes(source.randrange(1, 2000)))
                socket.socket.shutdown(connection, socket.SHUT_WR)
            raw.Reader(connection).rest()


def test_handshakes_cut_anywhere(broker):
    whole = raw.request()
    for length in range(1, len(whole), 3):
        connection = broker.dial()
        connection.sendall(whole[:length])
        if length % 2:
            reset(connection)
        else:
            connection.close()


def test_handshake_byte_by_byte(broker):
    with broker.dial() as connection:
        for byte in raw.request():
            connection.sendall(bytes([byte]))
        assert raw.Reader(connection).response().status == 101


def test_clients_that_vanish_after_the_handshake(broker):
    for number in range(100):
        client = broker.raw_socket(broker.ticket("a1"))
        if number % 3 == 0:
            client.send_bytes(b"\x81")
        reset(client._socket) if number % 2 else client.abort()
    broker.wait_connections(lambda: broker.list() == [], "all of them to be gone")


def test_random_frames(broker):
    source = random.Random(2)
    for _ in range(100):
        client = broker.raw_socket(broker.ticket("a1"))
        with contextlib.suppress(ConnectionError):
            client.send_bytes(source.randbytes(source.randrange(1, 3000)))
        client.abort()
    broker.wait_connections(lambda: broker.list() == [], "all of them to be gone")


def test_control_answers_while_strangers_hold_sockets(broker):
    idle = [broker.dial() for _ in range(500)]
    for connection in idle[::2]:
        connection.sendall(b"GET /ws HTTP/1.1\r\n")
    for _ in range(50):
        assert broker.count() == 0
    assert broker.http("/readyz")[0] == 200
    for connection in idle:
        connection.close()
