"""A client that does nothing by itself: for what libraries would not send or show."""

import base64
import os
import socket
import struct
from typing import NamedTuple

TIMEOUT = 15.0
KEY = base64.b64encode(bytes(16)).decode()

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Response(NamedTuple):
    status: int
    headers: list
    body: bytes

    def header(self, name):
        """All values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


class Frame(NamedTuple):
    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def close_code(self):
        return struct.unpack("!H", self.payload[:2])[0]

    @property
    def close_reason(self):
        return self.payload[2:].decode()


def dial(port, receive_buffer=None, tls=None):
    result = socket.socket()
    if receive_buffer is not None:
        result.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    result.settimeout(TIMEOUT)
    result.connect(("127.0.0.1", port))
    return result if tls is None else tls.wrap_socket(result, server_hostname="localhost")


def request(path="/ws", headers=None, method="GET", upgrade=True):
    """The bytes of a handshake; a header that is None is left out."""
    fields = {"Host": "127.0.0.1"}
    if upgrade:
        fields.update({
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": KEY,
        })
    fields.update(headers or {})
    lines = [f"{method} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Reader:
    """Reads a socket piece by piece."""

    def __init__(self, connection):
        self.socket = connection
        self.piece = 65536  # bytes, at most
        self._buffer = b""

    def _fill(self):
        piece = self.socket.recv(self.piece)
        if not piece:
            raise EOFError("the broker closed the socket")
        self._buffer += piece

    def take(self, count):
        while len(self._buffer) < count:
            self._fill()
        result, self._buffer = self._buffer[:count], self._buffer[count:]
        return result

    def until(self, mark):
        while mark not in self._buffer:
            self._fill()
        return self.take(self._buffer.index(mark) + len(mark))

    def rest(self):
        """Everything until the socket is closed or reset."""
        try:
            while True:
                self._fill()
        except (EOFError, ConnectionError):
            pass
        result, self._buffer = self._buffer, b""
        return result

    def response(self):
        head = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in head[1:] if line]
        body = b""
        if status != 101:
            lengths = [value for key, value in headers if key.lower() == "content-length"]
            body = self.take(int(lengths[0])) if lengths else self.rest()
        return Response(status, headers, body)

    def frame(self):
        first, second = self.take(2)
        assert not second & 0x80, "a broker never masks"
        length = second & 0x7F
        if length == 126:
            length = struct.unpack("!H", self.take(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self.take(8))[0]
        return Frame(first & 0x0F, self.take(length), bool(first & 0x80))

    def frames(self):
        """Every frame until the socket is closed or reset."""
        result = []
        try:
            while True:
                result.append(self.frame())
        except (EOFError, ConnectionError):
            return result


def exchange(port, data, tls=None):
    """Sends bytes and reads one HTTP response."""
    with dial(port, tls=tls) as connection:
        connection.sendall(data)
        return Reader(connection).response()


def encode(opcode, payload=b"", fin=True, masked=True):
    head = bytes([(0x80 if fin else 0) | opcode])
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head += bytes([bit | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", len(payload))
    if not masked:
        return head + payload
    mask = os.urandom(4)
    long_mask = (mask * (len(payload) // 4 + 1))[:len(payload)]
    masked_payload = bytes(a ^ b for a, b in zip(payload, long_mask))
    return head + mask + masked_payload


class RawSocket:
    """A WebSocket past its handshake that reads and answers only when told to."""

    def __init__(self, port, path="/ws", headers=None, receive_buffer=None, pipelined=b"", tls=None):
        self._socket = dial(port, receive_buffer, tls)
        self._socket.sendall(request(path, headers) + pipelined)
        self.reader = Reader(self._socket)
        self.response = self.reader.response()
        assert self.response.status == 101, self.response

    def send(self, opcode, payload=b"", **options):
        self._socket.sendall(encode(opcode, payload, **options))

    def send_bytes(self, data):
        self._socket.sendall(data)

    def frame(self):
        return self.reader.frame()

    def frames(self):
        return self.reader.frames()

    def abort(self):
        self._socket.close()
