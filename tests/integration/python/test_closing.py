"""What still reaches a client that is revoked, and what it can still do: by clients that do not cooperate."""

import fcntl
import json
import struct
import termios

import pytest

from harness import raw
from harness.checks import notification
from harness.revoke import close_account, close_session
from socketbroker.v1 import socket_broker_pb2 as pb

# What TCP has not sent yet may still leave.
UNSENT = 64 * 1024
ASK = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "work"}).encode()


def unread(connection):
    """The bytes that have arrived for a socket."""
    return struct.unpack("i", fcntl.ioctl(connection, termios.FIONREAD, bytes(4)))[0]


def big(size):
    message = notification()
    message.text = json.dumps({"jsonrpc": "2.0", "method": "big", "params": ["x" * size]})
    return message


def stalled_with_twenty_megabytes(start_broker):
    broker = start_broker(config={"endpoints": [{"path": "/ws", "max_outbox_bytes": 24 << 20}]}, use_tls=False)
    client = broker.raw_socket(broker.ticket("a1", session="s1"), receive_buffer=4096)
    for _ in range(21):
        sent = broker.client.send_to_account(pb.SendToAccountRequest(account_id="a1", message=big(1_000_000)))
        assert (sent.queued, sent.dropped_slow) == (1, 0)
    return broker, client


def test_of_twenty_megabytes_hardly_anything_leaves(start_broker):
    broker, client = stalled_with_twenty_megabytes(start_broker)
    assert close_session(broker, "s1").closed == 1
    arrived = unread(client.reader.socket)
    rest = client.reader.rest()
    assert len(rest) <= arrived + UNSENT
    # The close frame comes behind the fragment that was begun.
    code_and_reason = struct.pack("!H", 4001) + b"Session revoked"
    assert rest.endswith(bytes([0x88, len(code_and_reason)]) + code_and_reason)
    broker.wait_connections(lambda: broker.list() == [], "the socket to be gone")


def test_who_reads_nothing_is_gone_too(start_broker):
    broker, client = stalled_with_twenty_megabytes(start_broker)
    descriptors = broker.descriptors()
    assert close_session(broker, "s1").closed == 1
    assert broker.count() == 0
    broker.wait_connections(lambda: broker.list() == [], "the socket to be gone")
    assert broker.descriptors() < descriptors
    with pytest.raises(ConnectionResetError):
        while client.reader.socket.recv(1 << 20):
            pass


def test_nothing_of_who_withholds_its_close_frame_is_handled(start_broker):
    broker = start_broker(use_tls=False)
    client = broker.raw_socket(broker.ticket("a1", session="s1"))
    client.send(raw.TEXT, ASK)
    assert json.loads(client.frame().payload)["error"]["code"] == -32601
    before = broker.metric("messages_total", direction="in")
    assert before == 1
    assert close_session(broker, "s1").closed == 1
    for _ in range(100):
        client.send(raw.TEXT, ASK)
    close = client.frame()
    assert (close.opcode, close.close_code) == (raw.CLOSE, 4001)
    # It goes on until it is cut off.
    with pytest.raises(ConnectionError):
        while True:
            client.send(raw.TEXT, ASK)
    assert client.reader.rest() == b""
    assert broker.metric("messages_total", direction="in") == before
    broker.wait_connections(lambda: broker.list() == [], "the socket to be gone")


def test_a_revoked_socket_has_no_heartbeat(start_broker):
    limits = {"ping_interval": "0.2s", "pong_timeout": "0.2s"}
    broker = start_broker(config={"limits": limits}, use_tls=False)
    client = broker.raw_socket(broker.ticket("a1", session="s1"))
    close_session(broker, "s1")
    # It answers nothing, and is there for two seconds more.
    frames = client.frames()
    assert [f.close_code for f in frames if f.opcode == raw.CLOSE] == [4001]
    assert frames[-1].opcode == raw.CLOSE
    broker.wait_connections(lambda: broker.list() == [], "the socket to be gone")
    assert broker.metric("closes_total", code="4003") == 0


def reply_and_revoke(start_broker):
    """A service answers a request over the socket that the request revokes; its client is slow."""
    broker = start_broker(use_tls=False)
    client = broker.raw_socket(broker.ticket("a1", session="s1"), receive_buffer=4096)
    for _ in range(3):
        broker.client.send_to_account(pb.SendToAccountRequest(account_id="a1", message=big(900_000)))
    client.send(raw.TEXT, ASK)
    reply = notification("reply")
    sent = broker.client.send_to_account(pb.SendToAccountRequest(account_id="a1", message=reply))
    assert sent.queued == 1
    request = pb.CloseSocketsForSessionRequest(token_hash="s1")
    request.drain_for.FromSeconds(5)
    assert broker.client.close_sockets_for_session(request).closed == 1
    assert broker.count() == 0
    return broker, client


def test_a_reply_over_the_revoked_socket_arrives_at_a_slow_reader(start_broker):
    broker, client = reply_and_revoke(start_broker)
    # It reads only now, and in small pieces.
    client.reader.piece = 1024
    frames = client.frames()
    assert frames[-1].opcode == raw.CLOSE and frames[-1].close_code == 4001
    # The broker's own answer to the request may come before it, or behind.
    assert "reply" in [json.loads(f.payload).get("method") for f in frames[-3:-1]]
    assert sum(len(f.payload) for f in frames) > 3 * 900_000


def test_a_later_revocation_cuts_that_drain(start_broker):
    broker, client = reply_and_revoke(start_broker)
    assert close_account(broker, "a1").closed == 0  # it is closing already
    arrived = unread(client.reader.socket)
    rest = client.reader.rest()
    assert len(rest) <= arrived + UNSENT and b'"reply"' not in rest
