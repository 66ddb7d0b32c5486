"""brokerctl info, connections, revocations: what is asked and what is printed."""

import json
import os
import subprocess

import grpc
import pytest
from fake_broker import Refusal
from google.protobuf import json_format, timestamp_pb2
from running import BROKERCTL, environment, rows, run
from socketbroker.v1 import connection_pb2, filter_pb2
from socketbroker.v1 import socket_broker_pb2 as pb


def connection(number, **fields):
    return connection_pb2.Connection(
        connection_id=f"c{number}",
        namespace="default",
        state=connection_pb2.CONNECTION_STATE_ADMITTED,
        identity=connection_pb2.Identity(account_id="a1", token_hash="h1"),
        endpoint="/ws",
        remote_address="127.0.0.1",
        remote_port=number,
        connect_time=timestamp_pb2.Timestamp(seconds=1_800_000_000, nanos=5),
        **fields,
    )


def test_info(broker):
    info = pb.GetBrokerInfoResponse(ready=True, version="0.1.0", epoch=7)
    info.endpoints.add(path="/ws", namespace="default", framing="JSONRPC")
    info.namespaces.add(namespace="default", admitted=3)
    info.limits.max_connections = 10
    broker.on("GetBrokerInfo", info)
    result = run(broker, "info")
    assert (result.returncode, result.stderr) == (0, "")
    cells = rows(result.stdout)
    for row in (["ready", "yes"], ["epoch", "7"], ["max connections", "10"], ["default", "3", "0", "0"]):
        assert row in cells
    assert ["/ws", "default", "JSONRPC", "0", "0"] in cells


def test_json_is_one_document_of_the_api_with_zeros(broker):
    info = pb.GetBrokerInfoResponse(version="0.1.0", epoch=7)
    broker.on("GetBrokerInfo", info)
    result = run(broker, "-o", "json", "info")
    assert json_format.Parse(result.stdout, pb.GetBrokerInfoResponse()) == info
    assert json.loads(result.stdout)["shards"] == 0


def list_in_pages(broker, count):
    def answer(request):
        first = int(request.page_token or 0)
        last = min(first + min(request.page_size, 2), count)
        return pb.ListConnectionsResponse(
            connections=[connection(number) for number in range(first, last)],
            next_page_token=str(last) if last < count else "",
        )

    broker.on("ListConnections", answer)


def test_list_fetches_every_page(broker):
    list_in_pages(broker, 5)
    result = run(
        broker, "connections", "list", "--filter", 'account_id = "a1"', "--namespace", "n",
        "--state", "pending", "--state", "closing",
    )  # fmt: skip
    assert result.returncode == 0
    table = rows(result.stdout)
    assert table[0] == ["CONNECTION", "STATE", "ACCOUNT", "CREDENTIAL", "ENDPOINT", "REMOTE", "CONNECTED"]
    assert [row[0] for row in table[1:]] == ["c0", "c1", "c2", "c3", "c4"]
    assert table[1][1:] == ["admitted", "a1", "session:h1", "/ws", "127.0.0.1:0", "2027-01-15T08:00:00Z"]
    first, *_, last = broker.of("ListConnections")
    assert first == pb.ListConnectionsRequest(
        namespace="n",
        filter='account_id = "a1"',
        states=[connection_pb2.CONNECTION_STATE_PENDING, connection_pb2.CONNECTION_STATE_CLOSING],
        page_size=1000,
    )
    assert last.page_token == "4"


def test_list_stops_at_the_limit(broker):
    list_in_pages(broker, 5)
    result = run(broker, "connections", "list", "--limit", "3", "-o", "json")
    listed = json_format.Parse(result.stdout, pb.ListConnectionsResponse())
    assert [c.connection_id for c in listed.connections] == ["c0", "c1", "c2"]
    assert listed.next_page_token == "3"
    assert [request.page_size for request in broker.of("ListConnections")] == [3, 1]


def test_list_without_options_asks_for_everything(broker):
    run(broker, "connections", "list")
    assert broker.of("ListConnections") == [pb.ListConnectionsRequest(page_size=1000)]


def test_get(broker):
    found = connection(1, query="\x1b]0;owned\x07", origin="\u009b31m\u00e9")
    found.identity.labels["region"] = "eu"
    broker.on("GetConnection", pb.GetConnectionResponse(connection=found))
    result = run(broker, "connections", "get", "c1")
    assert broker.of("GetConnection") == [pb.GetConnectionRequest(connection_id="c1")]
    cells = rows(result.stdout)
    assert ["label", "region=eu"] in cells
    # What a client chose does not reach the terminal as it is.
    assert ["query", r"\x1b]0;owned\x07"] in cells
    assert ["origin", "\\x9b31m\u00e9"] in cells


def test_count(broker):
    broker.on("CountConnections", pb.CountConnectionsResponse(count=42))
    assert run(broker, "connections", "count", "--filter", "x").stdout == "42\n"
    assert broker.of("CountConnections") == [pb.CountConnectionsRequest(filter="x")]


def watch_events():
    closed = pb.RemovedConnection(
        connection=connection(1), reason=pb.RemovedConnection.REASON_CLOSED, close_code=4001
    )
    return [
        pb.WatchConnectionsResponse(added=connection(1)),
        pb.WatchConnectionsResponse(snapshot_end=pb.SnapshotEnd(), resume_token="t1"),
        pb.WatchConnectionsResponse(removed=closed, resume_token="t2"),
    ]


def test_watch_prints_each_event_as_it_comes(broker):
    broker.on("WatchConnections", watch_events())
    command = [BROKERCTL, "connections", "watch", "-o", "json", "--address", broker.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        # The watch stays open: lines must come without its end.
        lines = [process.stdout.readline() for _ in range(3)]
        process.terminate()
    assert [json_format.Parse(line, pb.WatchConnectionsResponse()) for line in lines] == watch_events()


def test_watch_for_people(broker):
    broker.on("WatchConnections", watch_events())
    result = run(broker, "connections", "watch", "--limit", "3", "--resume-token", "t0")
    assert result.returncode == 0
    remote = "admitted  a1  session:h1  /ws  127.0.0.1:1"
    assert result.stdout.splitlines() == [
        f"added    c1  {remote}", "---", f"removed  c1  {remote}  closed 4001",
    ]  # fmt: skip
    assert broker.of("WatchConnections")[0].resume_token == "t0"


def test_watch_tells_why_it_ended(broker):
    broker.on("WatchConnections", [Refusal(grpc.StatusCode.OUT_OF_RANGE, "too old", "RESUME_TOO_OLD")])
    result = run(broker, "connections", "watch")
    assert result.returncode == 1
    assert result.stderr == "brokerctl: the broker refused: OUT_OF_RANGE: too old (RESUME_TOO_OLD)\n"


def test_revocations_list(broker):
    revocations = [
        connection_pb2.Revocation(revocation_id="r1", account_id="a1", keep_token_hash="h1", epoch=5),
        connection_pb2.Revocation(revocation_id="r2", api_token_id="t1", namespaces=["n", "o"]),
        connection_pb2.Revocation(
            revocation_id="r3", filter_expr=filter_pb2.FilterExpr(present=filter_pb2.FilterPresent(field="groups"))
        ),
    ]
    pages = [
        pb.ListRevocationsResponse(revocations=revocations[:2], next_page_token="2"),
        pb.ListRevocationsResponse(revocations=revocations[2:]),
    ]
    broker.on("ListRevocations", pages)
    table = rows(run(broker, "revocations", "list", "--namespace", "n").stdout)
    assert table[1][:3] == ["r1", "all", "5"]
    assert table[1][-1] == "account:a1 but session:h1"
    assert (table[2][1], table[2][-1]) == ("n,o", "token:t1")
    assert table[3][0] == "r3" and "groups" in table[3][-1]
    assert [r.page_token for r in broker.of("ListRevocations")] == ["", "2"]
    assert broker.of("ListRevocations")[0].namespace == "n"


def test_revocations_lift(broker):
    lifted = connection_pb2.Revocation(revocation_id="r1", token_hash="h1")
    broker.on("LiftRevocation", pb.LiftRevocationResponse(revocation=lifted))
    assert run(broker, "revocations", "lift", "r1").stdout == "lifted  session:h1\n"
    assert broker.of("LiftRevocation") == [pb.LiftRevocationRequest(revocation_id="r1")]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_needs_no_broker(shell):
    result = run(None, "completion", shell)
    assert result.returncode == 0
    assert "_brokerctl" in result.stdout


@pytest.mark.parametrize(
    "typed, expected, absent",
    [
        ([""], {"info", "connections", "close", "--output", "-o"}, {"session"}),
        (["cl"], {"close"}, {"info"}),
        (["close", ""], {"session", "account", "token", "filter", "--address"}, {"--keep-session"}),
        (["close", "account", "--"], {"--keep-session", "--dry-run", "--timeout"}, {"--all"}),
        (["connections", "list", "--state", ""], {"pending", "admitted", "closing"}, {"--filter"}),
        (["info", "-o", "j"], {"json"}, {"table"}),
        (["completion", ""], {"bash", "zsh"}, {"info"}),
        (["close", "session", "--block-for", ""], set(), {"--dry-run"}),
        (["send", "all", "--binary-file", "/etc/host"], {"/etc/hosts"}, {"--text"}),
        (["--address", "close", ""], {"info"}, {"session"}),
    ],
)
def test_bash_completes_what_the_commands_have(typed, expected, absent):
    script = (
        'source <("$BROKERCTL" completion bash); COMP_WORDS=(brokerctl "$@"); COMP_CWORD=$#; '
        '_brokerctl; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    command = ["bash", "--norc", "-uc", script, "bash", *typed]
    result = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, BROKERCTL=BROKERCTL))
    assert (result.returncode, result.stderr) == (0, "")
    words = set(result.stdout.split())
    assert expected <= words
    assert not words & absent
