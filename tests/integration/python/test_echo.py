"""RAW endpoints: what a conformance suite sends, through the broker to an echo
service over gRPC and back, byte for byte. The parts are those of Autobahn's
suite: framing, pings, reserved bits, opcodes, fragmentation, UTF-8, closing,
sizes."""

import os
import struct
import threading

import pytest

from harness.raw import BINARY, CLOSE, PING, PONG, TEXT, RawSocket, encode
from harness.service import Service
from socketbroker.v1 import attach_pb2, message_pb2

CONTINUATION = 0
SIZES = (0, 1, 125, 126, 127, 128, 65535, 65536, 65537, 1 << 20)


class Echo(Service):
    """Sends every message back."""

    def _read(self):
        for told in self.stream:
            if told.HasField("started"):
                self._told.put(told)
                continue
            message = told.client_message
            back = message_pb2.Message()
            if message.HasField("text"):
                back.text = message.text
            else:
                back.binary = message.binary
            self.stream.send(message.connection_id, back)
            self.stream.credit(messages=1)


@pytest.fixture
def connect(start_broker):
    """Raw sockets of one RAW endpoint, with an echo service behind it."""
    broker = start_broker(config={
        "endpoints": [{"path": "/raw", "namespace": "raw", "framing": "RAW"}],
        "limits": {"max_pings_per_second": 0}})
    service = Echo(broker, namespace="raw", messages=attach_pb2.AttachMessages())
    sockets = []

    def connect():
        ticket = broker.ticket("a1", namespace="raw")
        sockets.append(RawSocket(int(broker.websocket.rpartition(":")[2]), f"/raw?ticket={ticket}", tls=broker.tls))
        return sockets[-1]

    yield connect
    for socket in sockets:
        socket.abort()
    service.leave()


def message(socket):
    """The next message: opcode and payload, its fragments joined."""
    first = socket.frame()
    payload, frame = first.payload, first
    while not frame.fin:
        frame = socket.frame()
        assert frame.opcode == CONTINUATION, frame
        payload += frame.payload
    return first.opcode, payload


def failed_with(socket):
    """The code of the close frame that ends it."""
    frames = socket.frames()
    assert [f.opcode for f in frames if f.opcode == CLOSE] == [CLOSE], frames
    assert frames[-1].opcode == CLOSE
    return frames[-1].close_code


def chops(data, size):
    return [data[i:i + size] for i in range(0, len(data), size)] or [b""]


def send_fragments(socket, opcode, parts, between=None):
    for i, part in enumerate(parts):
        socket.send(opcode if i == 0 else CONTINUATION, part, fin=i == len(parts) - 1)
        # Not behind the last one: the echo may overtake that pong.
        if between is not None and i < len(parts) - 1:
            socket.send(PING, between)


def test_every_size_of_text_and_binary(connect):
    socket = connect()
    for size in SIZES:
        socket.send(TEXT, b"*" * size)
        assert message(socket) == (TEXT, b"*" * size)
        data = os.urandom(size)
        socket.send(BINARY, data)
        assert message(socket) == (BINARY, data)


@pytest.mark.parametrize("piece", [1, 997, 1460])
def test_frames_in_small_pieces(connect, piece):
    socket = connect()
    data = os.urandom(20_000)
    for chunk in chops(encode(BINARY, data), piece):
        socket.send_bytes(chunk)
    assert message(socket) == (BINARY, data)


def test_many_messages_come_back_in_order(connect):
    socket = connect()
    sent = [b"%d" % n for n in range(1000)]
    writer = threading.Thread(target=lambda: [socket.send(TEXT, text) for text in sent])
    writer.start()
    assert [message(socket)[1] for _ in sent] == sent
    writer.join()


def test_pings_are_answered_and_pongs_ignored(connect):
    socket = connect()
    for payload in (b"", b"hello", bytes(range(125)), b"\xfe" * 125):
        socket.send(PING, payload)
        frame = socket.frame()
        assert (frame.opcode, frame.payload) == (PONG, payload)
    socket.send(PONG, b"unsolicited")
    for n in range(10):
        socket.send(PING, b"%d" % n)
    assert [socket.frame().payload for _ in range(10)] == [b"%d" % n for n in range(10)]
    socket.send(TEXT, b"still here")
    assert message(socket) == (TEXT, b"still here")


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size, parts", [(0, 2), (5, 3), (125, 5), (126, 2), (65536, 7), (1 << 20, 64), (1 << 20, 1024)])
def test_fragments_are_joined_with_pings_between(connect, opcode, size, parts):
    socket = connect()
    data = b"a" * size if opcode == TEXT else os.urandom(size)
    pieces = chops(data, max(1, size // parts))
    send_fragments(socket, opcode, pieces if size else [b""] * parts)
    assert message(socket) == (opcode, data)
    few = chops(data, max(1, size // 8)) if size else [b"", b""]
    send_fragments(socket, opcode, few, between=b"ping")
    pongs = [socket.frame() for _ in few[1:]]
    assert {(f.opcode, f.payload) for f in pongs} == {(PONG, b"ping")}
    assert message(socket) == (opcode, data)


@pytest.mark.parametrize("frames", [
    encode(CONTINUATION, b"nothing to continue"),
    encode(CONTINUATION, b"nothing to continue", fin=False),
    encode(TEXT, b"one", fin=False) + encode(TEXT, b"another"),
    encode(TEXT, b"one", fin=False) + encode(BINARY, b"another", fin=False),
    encode(PING, b"half", fin=False),
    encode(PONG, b"half", fin=False),
    encode(PING, b"x" * 126),
    encode(CLOSE, struct.pack("!H", 1000) + b"x" * 124),
    encode(TEXT, b"unmasked", masked=False),
])
def test_broken_framing_is_1002(connect, frames):
    socket = connect()
    socket.send(TEXT, b"before")
    assert message(socket) == (TEXT, b"before")
    socket.send_bytes(frames)
    assert failed_with(socket) == 1002


def test_reserved_bits_and_opcodes_are_1002(connect):
    for first in [0x80 | TEXT | bit for bit in (0x10, 0x20, 0x40, 0x70)] + \
                 [0x80 | opcode for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)]:
        socket = connect()
        frame = bytearray(encode(TEXT, b"x"))
        frame[0] = first
        socket.send_bytes(bytes(frame))
        assert failed_with(socket) == 1002, hex(first)


GOOD_UTF8 = [
    "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\x00", "\x7f", "\x80", "\u07ff", "\u0800", "\uffff", "\ufdd0",
    "\U00010000", "\U0010ffff", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\U0001fffe",
]
BAD_UTF8 = [
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", b"\x80", b"\xbf", b"\x80\xbf\x80",
    b"\xc0 ", b"\xdf ", b"\xe0 ", b"\xf7 ", b"\xf8 ", b"\xfc ", b"\xc0", b"\xe0\x80", b"\xf0\x80\x80",
    b"\xfe", b"\xff", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xc1\xbf", b"\xed\xa0\x80",
    b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80",
    b"\xce\xba\xe1\xbd", b"\xf0\x9f\x98",  # cut off
]


def test_utf8_comes_back_however_it_is_cut(connect):
    socket = connect()
    for text in GOOD_UTF8:
        data = text.encode()
        socket.send(TEXT, data)
        assert message(socket) == (TEXT, data)
        send_fragments(socket, TEXT, chops(data, 1))
        assert message(socket) == (TEXT, data)
    for bad in BAD_UTF8:
        socket.send(BINARY, bad)
        assert message(socket) == (BINARY, bad)


def test_text_that_is_not_utf8_is_1007(connect):
    for bad in BAD_UTF8:
        socket = connect()
        socket.send(TEXT, bad)
        assert failed_with(socket) == 1007, bad
        socket = connect()
        send_fragments(socket, TEXT, chops(bad, 1))
        assert failed_with(socket) == 1007, bad


def test_closes_are_answered_with_their_code(connect):
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999):
        for reason in (b"", b"bye", "ö".encode() * 61):
            socket = connect()
            socket.send(CLOSE, struct.pack("!H", code) + reason)
            assert failed_with(socket) == code, (code, reason)
    socket = connect()
    socket.send(CLOSE)
    assert failed_with(socket) == 1000  # nothing is wrong


def test_codes_that_may_not_be_sent_are_1002(connect):
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        socket = connect()
        socket.send(CLOSE, struct.pack("!H", code))
        assert failed_with(socket) == 1002, code
    socket = connect()
    socket.send(CLOSE, b"\x03")
    assert failed_with(socket) == 1002
    socket = connect()
    socket.send(CLOSE, struct.pack("!H", 1000) + b"\xff")
    assert failed_with(socket) == 1007


def test_nothing_after_a_close_counts(connect):
    socket = connect()
    socket.send_bytes(encode(CLOSE, struct.pack("!H", 1000)) + encode(TEXT, b"late") + encode(PING, b"late"))
    assert [f.opcode for f in socket.frames()] == [CLOSE]
    socket = connect()
    socket.send_bytes(encode(TEXT, b"half", fin=False) + encode(CLOSE, struct.pack("!H", 1000)))
    assert [f.opcode for f in socket.frames()] == [CLOSE]


def test_one_byte_too_many_is_1009(connect):
    socket = connect()
    threading.Thread(target=lambda: _try(socket, b"x" * ((1 << 20) + 1)), daemon=True).start()
    assert failed_with(socket) == 1009


def _try(socket, data):
    try:
        socket.send(BINARY, data)
    except OSError:
        pass  # closed meanwhile
