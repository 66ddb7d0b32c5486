"""Who is let in and who has to go: the acceptance cases A1-A9, B5-B7 and what is configured around them.

Where a case has a test elsewhere, broker/docs/testing.md says where."""

import contextlib
import signal

import pytest

from harness import raw
from harness.broker import identity, wait_until
from harness.checks import fails, refused
from harness.revoke import close_account
from socketbroker.v1 import socket_broker_pb2 as pb

BOTH_WAYS = {"path": "/ws", "ways": ["TICKET", "MANUAL"]}
NOTE = b'{"jsonrpc":"2.0","method":"m"}'


def guarded(start_broker, endpoint=None, websocket=None, **limits):
    return start_broker(config={
        "endpoints": [{**BOTH_WAYS, **(endpoint or {})}], "limits": limits, "websocket": websocket or {}})


def with_lines(*lines):
    """A handshake with further header lines, whatever it has already."""
    return raw.request()[:-2] + "".join(line + "\r\n" for line in lines).encode() + b"\r\n"


def ask(broker, ticket=None, **headers):
    """The status and Retry-After of a handshake, and how it went on the wire."""
    path = "/ws" if ticket is None else f"/ws?ticket={ticket}"
    with broker.dial() as connection:
        connection.sendall(raw.request(path, headers))
        answer = raw.Reader(connection).response()
    return answer.status, answer.header("Retry-After"), (answer.headers, answer.body)


# ---- A: handshakes ------------------------------------------------------------------------------


def test_a1_a_plain_get_is_told_to_upgrade(broker):
    answer = broker.exchange(raw.request(upgrade=False))
    assert answer.status == 426
    assert answer.header("Upgrade") == ["websocket"] and answer.header("Sec-WebSocket-Version") == ["13"]


@pytest.mark.parametrize("version", ["0", "7", "8", "12", "14", "13x", "x13", "013", "+13", "13, 8", "", None])
def test_a2_only_version_13(broker, version):
    answer = broker.exchange(raw.request(headers={"Sec-WebSocket-Version": version}))
    assert answer.status == 426 and answer.header("Sec-WebSocket-Version") == ["13"]


@pytest.mark.parametrize("key", [
    None, "", "short", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAAB==",
    "AAAAAAAAAAAAAAAAAAAAA!==", "AAAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAA=="])
def test_a3_a_key_is_16_bytes(broker, key):
    assert broker.exchange(raw.request(headers={"Sec-WebSocket-Key": key})).status == 400


@pytest.mark.parametrize("line", [
    "Host: other", "Origin: http://localhost\r\nOrigin: http://localhost", "Authorization: a\r\nauthorization: b",
    "Sec-WebSocket-Key: " + raw.KEY, "Sec-WebSocket-Version: 13"])
def test_a3_what_must_be_there_once(broker, line):
    assert broker.exchange(with_lines(line)).status == 400


def test_a4_foreign_origins_leave_the_ticket(start_broker):
    broker = guarded(start_broker, {"allowed_origins": ["https://app.example"]})
    ticket = broker.ticket("a1")
    for origin in ("https://evil.example", "null", "https://app.example.evil.example", "https://evilapp.example",
                   "http://app.example", "https://app.example:8443", "https://app.example/", None):
        assert ask(broker, ticket, Origin=origin)[0] == 403, origin
    assert ask(broker, ticket, Origin="https://app.example")[0] == 101


@pytest.mark.parametrize("endpoint, status", [
    ({}, 101),
    ({"allow_missing_origin": False}, 403),
    ({"allowed_origins": ["https://app.example"]}, 403),
    ({"allowed_origins": ["https://app.example"], "allow_missing_origin": True}, 101),
    ({"allowed_origins": ["*"]}, 101),
])
def test_a_missing_origin_passes_where_it_is_configured(start_broker, endpoint, status):
    assert ask(guarded(start_broker, endpoint))[0] == status


def test_a5_every_bad_ticket_is_answered_with_the_same_bytes(start_broker):
    broker = start_broker(config={"endpoints": [
        {"path": "/ws", "ways": ["TICKET"]}, {"path": "/other", "namespace": "other", "ways": ["TICKET"]}]})
    used, expired = broker.ticket("used"), broker.ticket("expired", ttl=1)
    revoked, elsewhere = broker.ticket("revoked"), broker.ticket("elsewhere", namespace="other")
    foreign = broker.ticket("foreign", allowed_origins=["http://localhost"])
    assert ask(broker, used)[0] == 101
    close_account(broker, "revoked")

    def answer(ticket):
        path = "/ws" if ticket is None else f"/ws?ticket={ticket}"
        with broker.dial() as connection:
            connection.sendall(raw.request(path))
            return raw.Reader(connection).rest()

    reference = answer(None)
    assert reference.startswith(b"HTTP/1.1 401 ")
    for ticket in ("", "unknown", used[:-1], used + "x", used, revoked, elsewhere, foreign):
        assert answer(ticket) == reference
    broker.pass_time(1.1)
    assert answer(expired) == reference


def test_a6_one_of_a_hundred_gets_in(broker):
    ticket = broker.ticket("a1")
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(broker.dial()) for _ in range(100)]
        for connection in connections:
            connection.sendall(raw.request(f"/ws?ticket={ticket}"))
        statuses = [raw.Reader(connection).response().status for connection in connections]
    assert sorted(statuses) == [101] + 99 * [401]


@pytest.mark.parametrize("headers, status", [
    ({"X": "x" * 16_000}, 431), ({"Content-Length": "1"}, 413), ({"Content-Length": "x"}, 413),
    ({"Transfer-Encoding": "chunked"}, 413), ({"Content-Length": "0"}, 101)])
def test_a7_heads_are_small_and_have_no_body(broker, headers, status):
    assert broker.exchange(raw.request(headers=headers)).status == status


def test_a9_who_is_too_many_is_told_when_to_come_again(start_broker):
    broker = guarded(start_broker, max_connections_per_account=1, max_pending_connections=1)
    broker.join("a1")
    assert ask(broker, broker.ticket("a1"))[:2] == (429, ["5"])
    broker.pend()
    assert ask(broker)[:2] == (503, ["5"])


def test_a9_of_one_address_429(start_broker):
    broker = guarded(start_broker, max_connections_per_address=1)
    broker.join("a1")
    assert ask(broker, broker.ticket("a2"))[:2] == (429, ["5"])


def test_a9_over_all_and_over_a_namespace_503(start_broker):
    broker = start_broker(config={
        "endpoints": [BOTH_WAYS, {"path": "/other", "namespace": "other", "ways": ["MANUAL"]}],
        "limits": {"max_connections": 3, "max_connections_per_namespace": 2}})
    broker.join("a1")
    pending = broker.pend()
    ticket = broker.ticket("a2")
    assert ask(broker, ticket)[:2] == (503, ["5"])
    assert broker.client.get_broker_info(pb.GetBrokerInfoRequest()).limits.max_connections_per_namespace == 2
    wait_until(lambda: broker.metric("sockets") == 2, "the refused one to be gone")
    other = broker.pend("/other", "other")
    pending.close()
    broker.wait_connections(lambda: broker.metric("sockets") == 2, "a free place")
    broker.connect(ticket)
    assert ask(broker)[:2] == (503, ["5"])
    other.close()


def test_a9_while_it_drains_503(start_broker):
    broker = start_broker(config={"drain": {"window": "60s"}, "endpoints": [BOTH_WAYS], "shards": 1})
    sockets = [broker.join(f"a{n}") for n in range(20)]
    broker.signal(signal.SIGTERM)
    broker.wait_for_log("draining")
    wait_until(lambda: broker.http("/readyz")[0] == 503, "/readyz to say 503")
    assert ask(broker)[:2] == (503, ["1"])
    broker.signal(signal.SIGTERM)
    assert broker.wait() == 0
    assert {socket.closed()[0] for socket in sockets} <= {1001, 1006}


def test_bad_tickets_have_a_rate(start_broker):
    broker = guarded(start_broker, {"ways": ["TICKET"]}, max_ticket_misses_per_minute=3)
    good = broker.ticket("a1")
    assert [ask(broker, "bad")[0] for _ in range(4)] == [401, 401, 401, 429]
    status, retry_after, _ = ask(broker, good)
    assert status == 429 and 1 <= int(retry_after[0]) <= 20
    assert ask(broker)[0] == 401
    broker.write_config({"endpoints": [{"path": "/ws", "ways": ["TICKET"]}],
                         "limits": {"max_ticket_misses_per_minute": 0}})
    broker.signal(signal.SIGHUP)
    broker.wait_for_log("reloaded")
    assert ask(broker, good)[0] == 101
    assert {ask(broker, "bad")[0] for _ in range(10)} == {401}


# ---- proxies ------------------------------------------------------------------------------------


def test_the_address_is_what_a_trusted_proxy_says(start_broker):
    broker = guarded(start_broker, websocket={"trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]},
                     max_connections_per_address=1)
    sockets = {}
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
        sockets[address] = broker.raw_socket(broker.ticket(address), headers={"X-Forwarded-For": f"1.1.1.1, {address}, 10.1.1.1"})
    assert sorted(c.remote_address for c in broker.list()) == sorted(sockets)
    assert broker.count('remote_address = "192.0.2.1"') == 1
    assert ask(broker, broker.ticket("a1"), **{"X-Forwarded-For": "192.0.2.1"})[:2] == (429, ["5"])
    assert ask(broker, **{"X-Forwarded-For": "nobody"})[0] == 400
    broker.write_config({"endpoints": [BOTH_WAYS]})
    broker.signal(signal.SIGHUP)
    broker.wait_for_log("reloaded")
    assert broker.events("reload_incomplete") == []
    broker.raw_socket(broker.ticket("late"), headers={"X-Forwarded-For": "192.0.2.9"})
    assert broker.count('remote_address = "127.0.0.1"') == 1


# ---- accounts that are full ---------------------------------------------------------------------


def test_the_oldest_of_an_account_makes_room(start_broker):
    broker = start_broker(config={
        "shards": 2, "endpoints": [BOTH_WAYS],
        "limits": {"max_connections_per_account": 2, "account_policy": "EVICT_OLDEST"}})
    sockets = [broker.join("a1") for _ in range(6)]
    other = broker.join("a2")
    pending = broker.pend()
    broker.client.add_connection(pb.AddConnectionRequest(connection_id=pending.id, identity=identity("a1")))
    for socket in sockets[:5]:
        assert socket.closed() == (4004, "Connection limit")
    broker.wait_connections(lambda: len(broker.list()) == 3, "them to be gone")
    assert broker.count('account_id = "a1"') == 2
    assert sockets[5].is_open() and other.is_open() and pending.is_open()


# ---- B: what clients send -----------------------------------------------------------------------


@pytest.mark.parametrize("bad", [b"{", b"[" * 33 + b"]" * 33, b'{"jsonrpc":"2.0","jsonrpc":"2.0","method":"m"}'])
def test_b5_bad_json_is_answered_twice_then_1008(broker, bad):
    client = broker.raw_socket(broker.ticket("a1"))
    for _ in range(3):
        client.send(raw.TEXT, bad)
    frames = client.frames()
    assert [frame.opcode for frame in frames] == [raw.TEXT, raw.TEXT, raw.CLOSE]
    assert b'"error"' in frames[0].payload and frames[-1].close_code == 1008


@pytest.mark.parametrize("endpoint, count", [
    ({"max_messages_per_second": 20}, 21), ({"max_bytes_per_second": 600, "max_message_bytes": 600}, 21)])
def test_b6_who_sends_too_much_is_closed_4029(start_broker, endpoint, count):
    broker = guarded(start_broker, endpoint)
    client, other = broker.raw_socket(broker.ticket("a1")), broker.join("a2")
    try:
        # However slowly this machine runs, at some point they come faster than the rate.
        for _ in range(1000):
            client.send_bytes(raw.encode(raw.TEXT, NOTE) * count)
    except ConnectionError:
        pass
    frames = client.frames()
    if frames:
        assert frames[-1].opcode == raw.CLOSE and frames[-1].close_code == 4029
    broker.wait_connections(lambda: broker.metric("closes_total", code="4029") == 1, "the close to be counted")
    assert other.is_open()


def test_b7_a_message_that_never_ends_is_closed_1008(start_broker):
    broker = guarded(start_broker, message_timeout="1s", ping_interval="0.2s")
    client = broker.raw_socket(broker.ticket("a1"))
    client.send(raw.TEXT, b"[", fin=False)
    while True:
        frame = client.frame()
        if frame.opcode == raw.CLOSE:
            break
        assert frame.opcode == raw.PING
        client.send(raw.PONG, frame.payload)
    assert frame.close_code == 1008


def test_a_message_in_time_is_none_of_those(start_broker):
    broker = guarded(start_broker, message_timeout="60s")
    client = broker.raw_socket(broker.ticket("a1"))
    client.send(raw.TEXT, b'{"jsonrpc":"2.0",', fin=False)
    client.send(raw.PING, b"between")
    client.send(0, b'"method":"m","id":1}')
    assert client.frame().opcode == raw.PONG
    assert b"-32601" in client.frame().payload


def test_settings_that_are_wrong_are_named(start_broker):
    broker = start_broker("--set=websocket.trusted_proxies=[10.0.0.1/8]", ready=False)
    assert broker.wait() == 2
    assert 'websocket.trusted_proxies[0]: "10.0.0.1/8" is no IP address and no network' in broker.log()
    broker.stop = lambda: 0  # It has ended as it should.


def test_a_full_account_refuses_a_binding_by_default(start_broker):
    broker = guarded(start_broker, max_connections_per_account=1)
    broker.join("a1")
    pending = broker.pend()
    with fails("RESOURCE_EXHAUSTED", "CONNECTION_LIMIT"):
        broker.client.add_connection(pb.AddConnectionRequest(connection_id=pending.id, identity=identity("a1")))
    assert pending.closed()[0] == 4004
    with refused(429):
        broker.connect(broker.ticket("a1"))
