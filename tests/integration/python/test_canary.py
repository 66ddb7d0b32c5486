"""What the log, /metrics and /statusz never show, and that no stranger writes them.

One canary in every place that can hold a secret or a stranger's text, at every
level and in both formats.
"""

import contextlib
import json
import socket
import struct
import subprocess

import pytest

from harness import raw
from harness.broker import BINARY, identity
from harness.checks import notification
from harness.revoke import close_filtered
from harness.sockets import Refused
from socketbroker import BrokerError
from socketbroker.v1 import socket_broker_pb2 as pb

CANARY = "c4n4rySECRET"
# What would end a line, move a cursor, or turn a terminal's direction, and then
# looks like a line of the log.
FORGERY = '\r\n\x1b[2J\x9b31m\u202e{"level":"error","event":"forged"}'


@pytest.fixture(params=["debug", "info"])
def level(request):
    return request.param


@pytest.fixture(params=["json", "text"])
def canary(request, level, start_broker):
    """A broker that says all it can. Afterwards nothing that it says has a canary."""
    broker = start_broker("--log-level", level, "--log-format", request.param, ready=False)
    broker.wait_log(lambda: "started" in broker.log(), "the broker to start")
    read_addresses(broker, request.param)
    yield broker
    pages = [broker.http(page) for page in ("/metrics", "/statusz", "/readyz", f"/{CANARY}?{CANARY}")]
    assert [status for status, _ in pages] == [200, 200, 200, 404]
    assert broker.stop() == 0
    for text in [broker.log(), *(body for _, body in pages)]:
        assert CANARY not in text
        assert "forged" not in text
    check_lines(broker.log(), request.param)


def read_addresses(broker, log_format):
    """Of the `started` line, which the harness reads as JSON only."""
    line = next(line for line in broker.log().splitlines() if "started" in line)
    if log_format == "json":
        fields = json.loads(line)
    else:
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
    for listener in ("websocket", "control", "admin"):
        setattr(broker, listener, fields[f"{listener}_address"])


def check_lines(log, log_format):
    """Every line is one of the broker's own, whole and harmless."""
    assert log.endswith("\n")
    for line in log[:-1].split("\n"):
        assert line.isprintable(), ascii(line)
        if log_format == "json":
            assert {"time", "level", "event", "message"} <= json.loads(line).keys()
        else:
            assert line.split()[2] in ("debug", "info", "warning", "error"), line


def head(path, **headers):
    """A handshake as text that no library would send: latin-1, controls and all."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return raw.request(path, fields)


def status_of(broker, data):
    """The status of the answer; None when there is none."""
    with contextlib.suppress(EOFError, ConnectionError):
        return broker.exchange(data).status


def may_fail(call, *args, **options):
    """Its error may quote the canary: it goes to the caller, who sent it."""
    with contextlib.suppress(BrokerError):
        call(*args, **options)


def test_handshakes(canary):
    latin = FORGERY.encode("utf-8").decode("latin-1")
    for path in (f"/{CANARY}", f"/ws?a={CANARY}", f"/ws?ticket={CANARY}", f"/ws?%74icket={CANARY}",
                 f"/ws?ticket={CANARY}&ticket={CANARY}", f"/ws?a=%{CANARY}", f"/ws#{CANARY}"):
        status_of(canary, head(path))
    for header in ("Cookie", "Authorization", "User-Agent", "Origin", "X-Forwarded-For", "Referer",
                   "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Extensions", "Host"):
        status_of(canary, raw.request("/ws", {header: CANARY}))
        status_of(canary, raw.request("/ws", {header: CANARY + latin}))
        status_of(canary, raw.request(f"/ws?{CANARY}\x1b[2J", {header: "\n" + CANARY}))
    for offer in (f"socketbroker.v1, ticket.{CANARY}", f"{CANARY}, ticket.", f"ticket.{CANARY}, ticket.{CANARY}"):
        assert status_of(canary, raw.request("/ws", {"Sec-WebSocket-Protocol": offer})) != 101 or CANARY in offer
    # No HTTP at all, and a TLS hello that names a host.
    status_of(canary, CANARY.encode() + FORGERY.encode() + b"\r\n\r\n")
    status_of(canary, b"\x16\x03\x01" + CANARY.encode())


def test_tickets(canary):
    for by in ("query", "subprotocol"):
        ticket = canary.ticket(CANARY + FORGERY, session=CANARY + by, labels={"note": CANARY + FORGERY})
        client = canary.connect(ticket, by=by, query=f"n={CANARY}")
        with contextlib.suppress(Refused):
            canary.connect(ticket, by=by)
        canary.client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(token_hash=CANARY + by))
        assert client.closed()[0] == 4001
        assert ticket not in canary.log()
    expired = canary.ticket("a1", ttl=0.05)
    revoked = canary.ticket("a1", session=CANARY)
    canary.client.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id="a1"))
    for ticket in (expired, revoked):
        with contextlib.suppress(Refused):
            canary.connect(ticket, by="query")
        assert ticket not in canary.log()


def test_what_clients_say(canary):
    """Close reasons, pings, broken frames and messages."""
    reason = (CANARY + FORGERY).encode()
    for opcode, payload in (
        (raw.CLOSE, struct.pack("!H", 1000) + reason),
        (raw.CLOSE, struct.pack("!H", 1006) + reason),
        (raw.CLOSE, struct.pack("!H", 1000) + reason + b"\xff"),
        (raw.PING, reason),
        (raw.TEXT, reason),
        (raw.TEXT, reason + b"\xff"),
        (raw.BINARY, reason),
        (3, reason),
        (raw.TEXT, json.dumps({"jsonrpc": "2.0", "id": CANARY, "method": CANARY + FORGERY}).encode()),
    ):
        client = canary.raw_socket(canary.ticket("a1"))
        client.send(opcode, payload)
        client.send(raw.CLOSE, struct.pack("!H", 1000) + reason)
        client.frames()


def test_calls_that_succeed(canary):
    account, session, token = CANARY + FORGERY, CANARY + "-s", CANARY + "-t"
    labels, groups = {"note": CANARY + FORGERY}, [CANARY + FORGERY]
    client = canary.pend()
    canary.client.add_connection(pb.AddConnectionRequest(
        connection_id=client.id, verified_at_epoch=canary.epoch, request_id=CANARY,
        identity=identity(account, session=session, labels=labels, groups=groups)))
    update = pb.UpdateConnectionRequest(connection_id=client.id, identity=identity(labels={"other": CANARY}))
    update.update_mask.paths.append("labels")
    canary.client.update_connection(update)
    canary.client.send_to_account(pb.SendToAccountRequest(
        account_id=account, message=notification(CANARY, text=CANARY + FORGERY)))
    assert canary.count(f'account_id = "{CANARY}*"') == 1
    canary.client.close_sockets_for_token(pb.CloseSocketsForTokenRequest(api_token_id=token))
    close_filtered(canary, f'labels.other = "{CANARY}"', fence=True, fence_ttl=60)
    canary.client.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id=account))
    canary.client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(token_hash=session))
    assert client.closed()[0] == 4001
    for revocation in canary.client.list_revocations(pb.ListRevocationsRequest()).revocations:
        canary.client.lift_revocation(pb.LiftRevocationRequest(revocation_id=revocation.revocation_id))


def test_calls_that_fail(canary):
    """Each has a canary in the field that is wrong."""
    bad = CANARY + FORGERY
    calls = canary.client
    may_fail(calls.get_connection, pb.GetConnectionRequest(connection_id=bad))
    may_fail(calls.remove_connection, pb.RemoveConnectionRequest(connection_id=bad))
    may_fail(calls.lift_revocation, pb.LiftRevocationRequest(revocation_id=bad))
    may_fail(calls.list_connections, pb.ListConnectionsRequest(page_token=bad))
    may_fail(calls.list_connections, pb.ListConnectionsRequest(namespace=bad))
    may_fail(calls.list_connections, pb.ListConnectionsRequest(filter=f'{CANARY} = "{bad}"'))
    may_fail(calls.close_sockets_filtered, pb.CloseSocketsFilteredRequest(filter=bad))
    may_fail(calls.close_sockets_for_session, pb.CloseSocketsForSessionRequest(token_hash=bad * 100))
    may_fail(calls.create_ticket, pb.CreateTicketRequest(
        identity=identity(bad * 100, session=CANARY, labels={bad: bad}), verified_at_epoch=canary.epoch))
    may_fail(calls.create_ticket, pb.CreateTicketRequest(
        identity=identity(CANARY, labels={bad: bad}), verified_at_epoch=canary.epoch))
    may_fail(calls.create_ticket, pb.CreateTicketRequest(
        identity=identity(CANARY), verified_at_epoch=canary.epoch, allowed_origins=[bad]))
    client = canary.join("a1")
    may_fail(calls.add_connection, pb.AddConnectionRequest(
        connection_id=client.id, verified_at_epoch=canary.epoch, identity=identity(bad, session=CANARY)))
    message = notification()
    message.text = bad
    may_fail(calls.send, pb.SendRequest(message=message))


def test_metadata(canary):
    """Headers of calls: what a proxy or a careless client may add."""
    import grpc

    from socketbroker.v1 import socket_broker_pb2_grpc

    metadata = [("authorization", f"Bearer {CANARY}"), ("cookie", CANARY), ("x-note", CANARY),
                ("x-note-bin", (CANARY + FORGERY).encode())]
    options = [("grpc.primary_user_agent", CANARY)]
    with grpc.insecure_channel(canary.control, options=options) as channel:
        stub = socket_broker_pb2_grpc.SocketBrokerStub(channel)
        stub.GetBrokerInfo(pb.GetBrokerInfoRequest(), metadata=metadata)
        with pytest.raises(grpc.RpcError):
            stub.Send(pb.SendRequest(), metadata=metadata)
        unknown = channel.unary_unary(f"/socketbroker.v1.SocketBroker/{CANARY}")
        with pytest.raises(grpc.RpcError):
            unknown(CANARY.encode(), metadata=metadata)
        garbage = channel.unary_unary("/socketbroker.v1.SocketBroker/Send")
        with pytest.raises(grpc.RpcError):
            garbage(CANARY.encode(), metadata=metadata)
    # No HTTP/2 either.
    host, _, port = canary.control.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=raw.TIMEOUT) as connection:
        connection.sendall((CANARY + FORGERY).encode())
        with contextlib.suppress(ConnectionError):
            connection.recv(1)


@pytest.mark.parametrize("settings", [{"websocket": {"address": "x" + FORGERY}}, {FORGERY: 1}])
def test_configuration(tmp_path, settings):
    """A wrong value is quoted, for it is the operator's own: but harmless."""
    file = tmp_path / "broker.yaml"
    file.write_text(json.dumps(settings))
    ended = subprocess.run([BINARY, "--config", file], capture_output=True, timeout=60)
    assert ended.returncode == 2
    (line,) = ended.stderr.decode().splitlines()
    assert line.isprintable() and "forged" in line, ascii(line)
