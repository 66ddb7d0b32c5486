"""What clients send, mostly while no service takes it."""

import json

import pytest

from harness import raw
from harness.checks import notification
from socketbroker.v1 import attach_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

RAW_ENDPOINT = {"endpoints": [{"path": "/ws"}, {"path": "/raw", "namespace": "raw", "framing": "RAW"}]}


@pytest.mark.parametrize("request_id", [1, 0, -7, 1.5, "x", "", "\u00e9\"\\", 9007199254740993])
def test_request_is_answered_method_not_found(broker, request_id):
    socket = broker.join("a1")
    socket.send(json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "work", "params": [1]}))
    answer = socket.receive_json()
    assert answer["jsonrpc"] == "2.0" and answer["id"] == request_id
    assert answer["error"]["code"] == -32601 and answer["error"]["message"]
    assert "result" not in answer


def test_notification_and_response_are_dropped(broker):
    socket = broker.join("a1")
    for message in (
        {"jsonrpc": "2.0", "method": "note"},
        {"jsonrpc": "2.0", "id": 99, "result": 1},
        {"jsonrpc": "2.0", "id": 99, "error": {"code": 1, "message": "x"}},
    ):
        socket.send(json.dumps(message))
    socket.send('{"jsonrpc":"2.0","id":1,"method":"last"}')
    assert socket.receive_json()["id"] == 1
    assert socket.is_open()


def test_bad_json_is_answered_and_the_third_closes_1008(broker):
    socket = broker.join("a1")
    for number in range(2):
        socket.send("{nonsense")
        answer = socket.receive_json()
        assert answer["error"]["code"] == -32700 and answer["id"] is None
    socket.send("{nonsense")
    assert socket.closed()[0] == 1008


@pytest.mark.parametrize("message", [
    '{"jsonrpc":"1.0","id":1,"method":"m"}', '{"id":1,"method":"m"}', '{"jsonrpc":"2.0","id":1}', "[]", "7",
    '{"jsonrpc":"2.0","id":1,"method":7}', '{"jsonrpc":"2.0","id":{},"method":"m"}',
    '[{"jsonrpc":"2.0","id":1,"method":"m"}]', '{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}',
])
def test_json_that_is_no_request_is_answered_invalid(broker, message):
    socket = broker.join("a1")
    socket.send(message)
    assert socket.receive_json()["error"]["code"] in (-32600, -32700)
    assert socket.is_open()


def test_deep_json_harms_nobody(broker):
    socket = broker.join("a1")
    socket.send("[" * 500_000)
    assert socket.receive_json()["error"]["code"] in (-32600, -32700)
    socket.send('{"jsonrpc":"2.0","id":1,"method":"m","params":' + "[" * 100_000 + "]" * 100_000 + "}")
    assert socket.receive_json()["error"]["code"] in (-32600, -32700)


def test_binary_on_a_json_rpc_endpoint_closes_1003(broker):
    socket = broker.join("a1")
    socket.send(b"\x00\x01")
    assert socket.closed()[0] == 1003


def test_raw_endpoint_takes_anything_for_a_service(start_broker, attach):
    broker = start_broker(config=RAW_ENDPOINT)
    socket = broker.join("a1", path="/raw", namespace="raw")
    service = attach(broker, namespace="raw", messages=attach_pb2.AttachMessages())
    for message in ("{nonsense", "", b"\x00", b"", "x" * 100_000):
        socket.send(message)
        told = service.next("client_message")
        assert getattr(told, told.WhichOneof("content")) == message
    service.leave()
    assert socket.closed() == (1013, "Try again later")
    # What nobody takes is not just dropped.
    lonely = broker.join("a1", path="/raw", namespace="raw")
    lonely.send("anybody?")
    assert lonely.closed()[0] == 1013


def test_fragments_and_pings_between_them(broker):
    socket = broker.raw_socket(broker.ticket("a1"))
    message = b'{"jsonrpc":"2.0","id":5,"method":"m"}'
    socket.send(raw.TEXT, message[:10], fin=False)
    socket.send(raw.PING, b"between")
    assert socket.frame() == raw.Frame(raw.PONG, b"between")
    socket.send(0, message[10:20], fin=False)
    socket.send(0, message[20:])
    assert json.loads(socket.frame().payload)["id"] == 5


@pytest.mark.parametrize("data, code", [
    (raw.encode(raw.TEXT, b"\xff\xfe"), 1007),
    (raw.encode(raw.TEXT, b'"\xc3', fin=False) + raw.encode(0, b""), 1007),
    (raw.encode(raw.TEXT, b"x", masked=False), 1002),
    (raw.encode(3, b"x"), 1002),
    (raw.encode(0, b"x"), 1002),
    (raw.encode(raw.PING, b"x" * 126), 1002),
    (raw.encode(raw.PING, b"x", fin=False), 1002),
    (raw.encode(raw.CLOSE, b"\x03"), 1002),
    (raw.encode(raw.CLOSE, b"\x03\xed"), 1002),
    (b"\xc1\x80" + b"mask", 1002),
    (raw.encode(raw.TEXT, b"x" * (1 << 20) + b"x"), 1009),
    (raw.encode(raw.TEXT, b"x" * 600_000, fin=False) + raw.encode(0, b"x" * 600_000), 1009),
    (b"\x81\xff" + b"\x7f" + b"\xff" * 7 + b"mask", 1009),
], ids=range(13))
def test_protocol_faults_close_with_their_code(broker, data, code):
    socket = broker.raw_socket(broker.ticket("a1"))
    other = broker.join("a2")
    try:
        socket.send_bytes(data)
    except ConnectionError:
        pass
    frames = socket.frames()
    assert [f.opcode for f in frames] == [raw.CLOSE]
    assert frames[0].close_code == code
    broker.wait_connections(lambda: broker.count() == 1, "the faulty one to be gone")
    assert other.is_open()


def test_close_of_the_client_is_answered_in_kind(broker):
    for code in (1000, 1001, 3000, 4999):
        socket = broker.raw_socket(broker.ticket("a1"))
        socket.send(raw.CLOSE, code.to_bytes(2, "big") + b"bye")
        frames = socket.frames()
        assert [f.opcode for f in frames] == [raw.CLOSE] and frames[0].close_code == code
    broker.wait_connections(lambda: broker.list() == [], "an empty list")


def test_messages_are_counted(broker):
    socket = broker.join("a1")
    for _ in range(3):
        socket.send('{"jsonrpc":"2.0","method":"note"}')
    assert socket.is_open()
    assert broker.metric("messages_total", direction="in") == 3
    assert broker.metric("messages_dropped_total", direction="in") == 3
    broker.client.send(pb.SendRequest(message=notification()))
    assert broker.metric("messages_total", direction="out") == 1
    assert broker.metric("bytes_total", direction="in") > 0 < broker.metric("bytes_total", direction="out")
