"""The process: start, configuration, logs, reload, drain, admin pages."""

import json
import signal
import subprocess

import pytest

from harness import raw
from harness.broker import BINARY, wait_until
from harness.checks import notification, refused
from harness.sockets import Refused
from socketbroker.v1 import socket_broker_pb2 as pb


def run(*arguments):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=15)


def test_several_run_at_once(start_broker):
    brokers = [start_broker() for _ in range(3)]
    assert len({b.websocket for b in brokers} | {b.control for b in brokers} | {b.admin for b in brokers}) == 9
    for broker in brokers:
        broker.join("a1")
        assert broker.count() == 1


def test_every_log_line_is_an_object(broker):
    broker.join("a1")
    with refused(401):
        broker.connect("A" * 43)
    assert broker.stop() == 0
    lines = [json.loads(line) for line in broker.log().splitlines()]
    assert lines and all(isinstance(line, dict) for line in lines)


def test_started_line_names_the_ports(broker):
    for address in (broker.websocket, broker.control, broker.admin):
        host, _, port = address.rpartition(":")
        assert host == "127.0.0.1" and 0 < int(port) < 65536


def test_version_and_configuration(tmp_path):
    assert run("--version").stdout.strip()
    printed = run("--print-config")
    assert printed.returncode == 0 and "8080" in printed.stdout and "50051" in printed.stdout
    file = tmp_path / "broker.yaml"
    file.write_text(printed.stdout)
    assert run("--config", str(file), "--check-config").returncode == 0
    again = run("--config", str(file), "--print-config")
    assert again.stdout == printed.stdout
    flagged = run("--config", str(file), "--set", "limits.max_connections=77", "--print-config")
    assert "77" in flagged.stdout


@pytest.mark.parametrize("text, words", [
    ("limits:\n  max_conections: 5\n", ["max_conections"]),
    ("limits:\n  max_header_bytes: 5\n", ["max_header_bytes", "5", "1024"]),
    ("limits:\n  handshake_timeout: soon\n", ["handshake_timeout", "soon"]),
    ("endpoints:\n- path: ws\n", ["path", "ws"]),
    ("endpoints:\n- path: /ws\n  framing: XML\n", ["framing", "XML", "RAW"]),
    ("endpoints:\n- {path: /ws, max_message_bytes: 1000, max_outbox_bytes: 1999}\n", ["max_outbox_bytes", "1999"]),
    ("endpoints:\n- path: /ws\n- path: /ws\n", ["/ws"]),
    ("control:\n  address: 0.0.0.0\n", ["control.address", "0.0.0.0"]),
    ("shards: -1\n", ["shards", "-1"]),
    ("shards: [1\n", []),
    ("- 1\n", []),
])
def test_wrong_configuration_exits_2_and_says_what(tmp_path, text, words):
    file = tmp_path / "broker.yaml"
    file.write_text(text)
    for arguments in (["--check-config"], ["--websocket-port", "0", "--control-port", "0", "--admin-port", "0"]):
        result = run("--config", str(file), *arguments)
        assert result.returncode == 2, result
        for word in words:
            assert word in result.stderr, result.stderr


@pytest.mark.parametrize("arguments", [["--no-such-flag"], ["--websocket-port", "x"], ["--set", "nonsense"],
                                       ["--set", "no.such=1"], ["--config", "/nonexistent.yaml"]])
def test_wrong_flags_exit_2(arguments):
    result = run(*arguments)
    assert result.returncode == 2 and result.stderr.strip(), result


@pytest.mark.parametrize("listener", ["websocket", "control", "admin"])
def test_port_in_use_is_said(broker, listener):
    port = getattr(broker, listener).rpartition(":")[2]
    others = [f"--{name}-port={0 if name != listener else port}" for name in ("websocket", "control", "admin")]
    result = run(*others)
    assert result.returncode not in (0, 2) and result.returncode > 0
    assert port in result.stderr


def test_admin_pages(broker):
    broker.join("a1", session="canary-session")
    assert broker.http("/livez")[0] == 200
    assert broker.http("/readyz")[0] == 200
    status, metrics = broker.http("/metrics")
    assert status == 200 and "# TYPE" in metrics
    for word in ("connections", "handshakes", "messages", "bytes", "outbox"):
        assert word in metrics
    status, page = broker.http("/statusz")
    assert status == 200 and page
    assert "canary" not in page + metrics
    assert broker.http("/nothing")[0] == 404


def test_no_secret_is_logged(start_broker):
    broker = start_broker(config={
        "log": {"level": "DEBUG"}, "endpoints": [{"path": "/ws", "ways": ["TICKET", "MANUAL"]}]})
    secrets = ["canary-cookie", "canary-bearer"]
    headers = {"Cookie": "session=canary-cookie", "Authorization": "Bearer canary-bearer"}
    for by in ("query", "subprotocol"):
        ticket = broker.ticket("a1")
        secrets.append(ticket)
        broker.connect(ticket, by=by, extra_headers=headers)
        for origin in (None, "https://evil.example"):
            with pytest.raises(Refused):
                broker.connect(ticket, by=by, origin=origin, extra_headers=headers)
    unused = broker.ticket("a1")
    secrets.append(unused)
    for request in (
        raw.request(f"/ws?ticket={unused}", {"Sec-WebSocket-Key": "bad", **headers}),
        raw.request(f"/nowhere?ticket={unused}", headers),
        raw.request(f"/ws?a=b&ticket={unused}", {"Sec-WebSocket-Version": "7", **headers}),
        raw.request(f"/ws?ticket={unused}", headers, upgrade=False),
        raw.request(f"/ws?ticket={unused}", headers, method="POST"),
        f"GET /ws?ticket={unused}\r\n{unused}\r\n\r\n".encode(),
    ):
        assert broker.exchange(request).status >= 400
    with broker.dial() as half:
        half.sendall(f"GET /ws?ticket={unused} HTTP/1.1\r\nCook".encode())
    broker.client.send(pb.SendRequest(message=notification("canary-message", x="canary-message")))
    secrets.append("canary-message")
    broker.http("/statusz")
    assert broker.stop() == 0
    log = broker.log()
    for secret in secrets:
        assert secret not in log, [line for line in log.splitlines() if secret in line]


def test_sigterm_closes_1001_and_exits_0(broker):
    sockets = [broker.join("a1"), broker.join("a2", session="s2"), broker.pend()]
    broker.signal(signal.SIGTERM)
    for socket in sockets:
        assert socket.closed()[0] == 1001
    assert broker.wait() == 0


def test_sigint_stops_it_too(broker):
    broker.signal(signal.SIGINT)
    assert broker.wait() == 0


def test_draining_is_not_ready_and_refuses_upgrades_but_answers(start_broker):
    broker = start_broker(config={
        "drain": {"window": "3s"}, "endpoints": [{"path": "/ws", "ways": ["TICKET", "MANUAL"]}]})
    tickets = [broker.ticket("late"), broker.ticket("later")]
    sockets = [broker.join(f"a{n}") for n in range(20)]
    stuck = broker.raw_socket(broker.ticket("stuck"))
    broker.signal(signal.SIGTERM)
    wait_until(lambda: broker.http("/readyz")[0] == 503, "/readyz to say 503")
    assert broker.http("/livez")[0] == 200
    with refused(503):
        broker.connect(tickets[0])
    with refused(503):
        broker.connect()
    info = broker.client.get_broker_info(pb.GetBrokerInfoRequest())
    assert not info.ready
    for socket in sockets:
        assert socket.closed()[0] == 1001
    frames = stuck.frames()
    assert [f.opcode for f in frames] == [raw.CLOSE] and frames[0].close_code == 1001
    assert broker.wait() == 0


def test_second_sigterm_is_harmless(broker):
    broker.raw_socket(broker.ticket("stuck"))
    broker.signal(signal.SIGTERM)
    broker.signal(signal.SIGTERM)
    assert broker.wait() == 0


def test_second_sigterm_waits_for_nobody(start_broker):
    broker = start_broker(config={"shards": 1, "drain": {"window": "600s"}})
    sockets = [broker.join(f"a{n}") for n in range(100)]
    broker.signal(signal.SIGTERM)
    broker.wait_for_log("draining")
    broker.signal(signal.SIGTERM)
    assert broker.wait() == 0
    # The first of them had its close frame; the last would have waited long.
    codes = {socket.closed()[0] for socket in sockets}
    assert codes == {1001, 1006}


def test_watch_ends_with_unavailable_at_drain(broker):
    watch = broker.client.watch_connections(pb.WatchConnectionsRequest(), timeout=15)
    assert next(iter(watch)).HasField("snapshot_end")
    broker.signal(signal.SIGTERM)
    with pytest.raises(Exception) as caught:
        for _ in watch:
            pass
    assert caught.value.code.name == "UNAVAILABLE"
    assert broker.wait() == 0


def test_sighup_reloads_what_can_change(start_broker):
    endpoint = {"path": "/ws", "ways": ["TICKET"], "allowed_origins": ["https://one.example"]}
    broker = start_broker(config={"endpoints": [endpoint]})
    stays = broker.connect(broker.ticket("a1"), origin="https://one.example")
    endpoint["allowed_origins"] = ["https://two.example"]
    broker.write_config({"endpoints": [endpoint], "limits": {"max_connections": 2}})
    broker.signal(signal.SIGHUP)
    broker.wait_for_log("reloaded")
    broker.connect(broker.ticket("a1"), origin="https://two.example")
    with refused(403):
        broker.connect(broker.ticket("a1"), origin="https://one.example")
    with refused(503):
        broker.connect(broker.ticket("a1"), origin="https://two.example")
    assert stays.is_open()
    assert broker.client.get_broker_info(pb.GetBrokerInfoRequest()).limits.max_connections == 2


def test_sighup_judges_origins_by_the_listener_that_is_there(start_broker):
    # With no list, an endpoint takes pages of this machine on loopback only.
    broker = start_broker(config={})
    broker.write_config({"websocket": {"address": "0.0.0.0"}})
    broker.signal(signal.SIGHUP)
    broker.wait_for_log("reloaded")
    assert "websocket.address" in broker.wait_for_log("reload_incomplete")["keys"]
    broker.connect(broker.ticket("a1"), origin="http://localhost:3000")
    with refused(403):
        broker.connect(broker.ticket("a1"), origin="https://evil.example")


def test_sighup_says_what_cannot_change_and_survives_a_wrong_file(start_broker):
    broker = start_broker(config={"shards": 1})
    broker.write_config({"shards": 2})
    broker.signal(signal.SIGHUP)
    broker.wait_log(lambda: "shards" in broker.log().partition("started")[2], "a line about shards")
    broker.config_file.write_text("limits: {max_connections: many}\n")
    broker.signal(signal.SIGHUP)
    broker.wait_log(lambda: "max_connections" in broker.log(), "a line about the wrong file")
    broker.join("a1")
    assert broker.client.get_broker_info(pb.GetBrokerInfoRequest()).shards == 1
