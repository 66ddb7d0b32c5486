"""brokerctl ticket, connections add, close, send, broadcast: what is asked of the broker."""

import os
import time

import grpc
import pytest
from fake_broker import Refusal
from google.protobuf import duration_pb2
from running import rows, run, run_on_terminal
from socketbroker.v1 import connection_pb2, conversation_pb2, message_pb2
from socketbroker.v1 import socket_broker_pb2 as pb


def seconds(count):
    return duration_pb2.Duration(seconds=count)


def test_ticket_create_reads_the_epoch_first(broker):
    broker.on("GetBrokerInfo", pb.GetBrokerInfoResponse(epoch=7))
    broker.on("CreateTicket", pb.CreateTicketResponse(ticket="secret", epoch=8))
    before = time.time()
    result = run(
        broker, "ticket", "create", "--namespace", "n", "--account", "a1", "--session-hash", "h1",
        "--label", "region=eu", "--label", "tier=", "--group", "g1", "--group", "g2", "--ttl", "1500ms",
        "--origin", "https://app.example", "--expires-in", "1h",
    )  # fmt: skip
    assert result.returncode == 0
    assert rows(result.stdout)[0] == ["ticket", "secret"]
    assert broker.names == ["GetBrokerInfo", "CreateTicket"]
    [request] = broker.of("CreateTicket")
    assert before + 3590 < request.identity.expires_at.seconds < time.time() + 3610
    request.identity.ClearField("expires_at")
    assert request == pb.CreateTicketRequest(
        namespace="n",
        identity=connection_pb2.Identity(
            account_id="a1", token_hash="h1", labels={"region": "eu", "tier": ""}, groups=["g1", "g2"]
        ),
        verified_at_epoch=7,
        ttl=duration_pb2.Duration(seconds=1, nanos=500_000_000),
        allowed_origins=["https://app.example"],
    )


def test_ticket_create_takes_an_epoch(broker):
    run(broker, "ticket", "create", "--account", "a1", "--api-token-id", "t1", "--verified-at-epoch", "5")
    assert broker.names == ["CreateTicket"]
    assert broker.of("CreateTicket")[0].verified_at_epoch == 5
    assert broker.of("CreateTicket")[0].identity.api_token_id == "t1"


def test_connections_add_admit_remove(broker):
    run(broker, "connections", "add", "c1", "--account", "a1", "--hold")
    run(broker, "connections", "admit", "c1")
    result = run(broker, "connections", "remove", "c1")
    assert broker.of("AddConnection") == [
        pb.AddConnectionRequest(connection_id="c1", identity=connection_pb2.Identity(account_id="a1"), hold=True)
    ]
    assert broker.of("AdmitConnection") == [pb.AdmitConnectionRequest(connection_id="c1")]
    assert broker.of("RemoveConnection") == [pb.RemoveConnectionRequest(connection_id="c1")]
    assert (result.returncode, result.stdout) == (0, "no such connection\n")


def test_close_by_key_closes_at_once(broker):
    closed = pb.CloseSocketsForSessionResponse(closed=2, epoch=9, revocation_id="r1")
    broker.on("CloseSocketsForSession", closed)
    result = run(broker, "close", "session", "h1", "--drain-for", "2s", "--block-for", "30d", "--exclude", "c1")
    assert rows(result.stdout) == [["closed", "2"], ["epoch", "9"], ["revocation", "r1"]]
    assert broker.of("CloseSocketsForSession") == [
        pb.CloseSocketsForSessionRequest(
            token_hash="h1", drain_for=seconds(2), block_for=seconds(30 * 86400), exclude_connection_ids=["c1"]
        )
    ]
    run(broker, "close", "account", "a1", "--keep-session", "h1", "--namespace", "n")
    assert broker.of("CloseSocketsForAccount") == [
        pb.CloseSocketsForAccountRequest(account_id="a1", keep_token_hash="h1", namespace="n")
    ]
    run(broker, "close", "token", "t1")
    assert broker.of("CloseSocketsForToken") == [pb.CloseSocketsForTokenRequest(api_token_id="t1")]


def test_an_empty_key_is_the_brokers_to_refuse(broker):
    run(broker, "close", "session", "")
    assert broker.of("CloseSocketsForSession")[0].HasField("token_hash")


def test_dry_run_only_counts(broker):
    broker.on("CloseSocketsForAccount", pb.CloseSocketsForAccountResponse(closed=1))
    assert run(broker, "close", "account", "a1", "--dry-run").stdout == "would close 1 connection\n"
    assert broker.of("CloseSocketsForAccount")[0].validate_only
    broker.on("CloseSocketsFiltered", pb.CloseSocketsFilteredResponse(closed=3))
    assert run(broker, "close", "filter", "--all", "--dry-run").stdout == "would close 3 connections\n"
    assert broker.of("CloseSocketsFiltered") == [pb.CloseSocketsFilteredRequest(match_all=True, validate_only=True)]


def test_close_filter_without_a_terminal_refuses(broker):
    result = run(broker, "close", "filter", "x = 1", stdin="y\n")
    assert result.returncode == 2
    assert "no terminal to ask on" in result.stderr
    assert "--yes" in result.stderr and "--dry-run" in result.stderr
    assert broker.names == []


def test_close_filter_with_yes_does_not_ask(broker):
    result = run(
        broker, "close", "filter", "x = 1", "--yes", "--fence-ttl", "1h", "--max-connections", "10", "--all-namespaces"
    )
    assert result.returncode == 0
    assert broker.of("CloseSocketsFiltered") == [
        pb.CloseSocketsFilteredRequest(
            filter="x = 1", fence=True, fence_ttl=seconds(3600), max_connections=10, all_namespaces=True
        )
    ]


@pytest.mark.parametrize("answer", ["y\n", "yes\n"])
def test_close_filter_shows_the_count_asks_and_closes(broker, answer):
    broker.on("CloseSocketsFiltered", pb.CloseSocketsFilteredResponse(closed=3))
    result = run_on_terminal(broker, "close", "filter", "x = 1", "--fence-ttl", "60s", answer=answer)
    assert result.returncode == 0
    assert "This closes 3 connections of namespace default that match x = 1" in result.stderr
    assert "refuses new ones for 60 s" in result.stderr
    assert rows(result.stdout)[0] == ["closed", "3"]
    assert [request.validate_only for request in broker.of("CloseSocketsFiltered")] == [True, False]


@pytest.mark.parametrize("answer", ["n\n", "\n", "Yellow\n", "\x04"])
def test_close_filter_closes_nothing_unless_told_to(broker, answer):
    result = run_on_terminal(broker, "close", "filter", "--all", answer=answer)
    assert result.returncode == 4
    assert "nothing was closed" in result.stderr
    assert [request.validate_only for request in broker.of("CloseSocketsFiltered")] == [True]


def test_close_filter_does_not_ask_about_a_wrong_filter(broker):
    broker.on("CloseSocketsFiltered", Refusal(grpc.StatusCode.INVALID_ARGUMENT, "filter: no field x"))
    result = run_on_terminal(broker, "close", "filter", "x = 1", answer="y\n")
    assert result.returncode == 1
    assert "no field x" in result.stderr and "[y/N]" not in result.stderr


def test_send_account(broker):
    broker.on("SendToAccount", pb.SendToAccountResponse(matched=2, queued=1, dropped_slow=1))
    result = run(broker, "send", "account", "a1", "--text", "[1,2]", "--exclude", "c9")
    assert rows(result.stdout) == [["matched", "2"], ["queued", "1"], ["dropped, too slow", "1"]]
    assert broker.of("SendToAccount") == [
        pb.SendToAccountRequest(
            account_id="a1", message=message_pb2.Message(text="[1,2]"), exclude_connection_ids=["c9"]
        )
    ]


def test_send_connection_from_standard_input(broker):
    broker.on("SendToConnection", pb.SendToConnectionResponse(outcome=message_pb2.SEND_OUTCOME_QUEUED))
    result = run(broker, "send", "connection", "c1", "--text", "-", stdin="h\u00e9\n")
    assert result.stdout == "queued\n"
    assert broker.of("SendToConnection")[0].message.text == "h\u00e9\n"


def test_send_all_as_a_notification(broker):
    run(broker, "send", "all", "--json-method", "m", "--params", '{"b": 1, "a": [2]}', "--namespace", "n")
    notification = message_pb2.JsonRpcNotification(method="m", params_json=b'{"b": 1, "a": [2]}')
    assert broker.of("Send") == [
        pb.SendRequest(namespace="n", message=message_pb2.Message(notification=notification))
    ]


def test_send_with_options(broker):
    run(broker, "send", "account", "a", "--text", "t", "--ttl", "1.5s", "--slow-policy", "latest",
        "--conflation-key", "k")
    run(broker, "send", "connection", "c", "--text", "t", "--slow-policy", "drop")
    message = message_pb2.Message(text="t", slow_policy="SLOW_POLICY_LATEST", conflation_key="k")
    message.ttl.FromMilliseconds(1500)
    assert broker.of("SendToAccount") == [pb.SendToAccountRequest(account_id="a", message=message)]
    assert broker.of("SendToConnection") == [pb.SendToConnectionRequest(
        connection_id="c", message=message_pb2.Message(text="t", slow_policy="SLOW_POLICY_DROP"))]
    assert run(broker, "send", "all", "--text", "t", "--slow-policy", "x").returncode == 2


def test_broadcast_of_a_file_with_outcomes(broker, tmp_path):
    response = pb.BroadcastFilteredResponse(matched=1, queued=1)
    response.outcomes.add(connection_id="c1", outcome=message_pb2.SEND_OUTCOME_QUEUED)
    broker.on("BroadcastFiltered", response)
    file = tmp_path / "bytes"
    file.write_bytes(b"\x00\xff\n")
    result = run(broker, "broadcast", "--filter", "f", "--binary-file", str(file), "--outcomes")
    assert ["c1", "queued"] in rows(result.stdout)
    assert broker.of("BroadcastFiltered") == [
        pb.BroadcastFilteredRequest(
            filter="f", message=message_pb2.Message(binary=b"\x00\xff\n"), include_outcomes=True
        )
    ]


def test_send_binary_from_standard_input(broker):
    run(broker, "send", "all", "--binary-file", "-", stdin=b"\x00\xff", text=False)
    assert broker.of("Send")[0].message.binary == b"\x00\xff"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "a command is missing; there are info, "),
        (["nope"], 'there is no command "nope"; there are info, '),
        (["close", "nope"], 'there is no command "nope"; there are session, account, token, filter'),
        (["close", "session"], "token_hash is required"),
        (["close", "filter", "--yes"], "needs a filter"),
        (["close", "filter", "x", "--all"], "excludes"),
        (["close", "filter", "x", "--namespace", "n", "--all-namespaces"], "excludes"),
        (["info", "--nope"], "--nope"),
        (["info", "-o", "xml"], '--output: "xml" is not known; allowed are table, json'),
        (["info", "--timeout", "10"], '--timeout: "10" is not a duration; allowed is a number with ms'),
        (["connections", "list", "--state", "open"], '"open" is not known; allowed are pending, admitted, closing'),
        (["connections", "list", "--limit", "0"], '--limit: "0" is not a number from 1'),
        (["ticket", "create", "--account", "a", "--ttl", "nan"], '"nan" is not a duration'),
        (["ticket", "create", "--account", "a", "--ttl", "-1s"], '"-1s" is not a duration'),
        (["ticket", "create", "--account", "a", "--label", "=v"], "allowed is key=value"),
        (["ticket", "create", "--account", "a", "--session-hash", "h", "--api-token-id", "t"], "excludes"),
        (["ticket", "create", "--session-hash", "h"], "--account is required"),
        (["ticket", "create", "--account", "a", "--verified-at-epoch", "-1"], "--verified-at-epoch"),
        (["send", "all"], "One of --text, --json-method and --binary-file is required"),
        (["send", "all", "--text", "a", "--binary-file", "/dev/null"], "excludes"),
        (["send", "all", "--params", "{}"], "requires --json-method"),
        (["send", "all", "--binary-file", "/nonexistent"], 'cannot read "/nonexistent"'),
        (["send", "all", "--text", os.fsdecode(b"\xff")], "--text: is not valid UTF-8"),
    ],
)
def test_wrong_usage_says_what_is_allowed(broker, arguments, message):
    result = run(broker, *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("brokerctl: ")
    assert message in result.stderr
    assert result.stdout == ""
    assert broker.names == []


def test_a_refusal_names_the_fields(broker):
    violations = [("identity.account_id", "is empty; 1 to 256 bytes are allowed"), ("ttl", "is 61 s; 60 s at most")]
    message = "identity.account_id: is empty; 1 to 256 bytes are allowed"
    broker.on("CreateTicket", Refusal(grpc.StatusCode.INVALID_ARGUMENT, message, "BAD", violations))
    result = run(broker, "ticket", "create", "--account", "", "--verified-at-epoch", "1")
    assert result.returncode == 1
    assert result.stderr == (
        f"brokerctl: the broker refused: INVALID_ARGUMENT: {message} (BAD)\n  ttl: is 61 s; 60 s at most\n"
    )


def test_a_broker_that_is_not_there(broker):
    result = run("127.0.0.1:1", "info")
    assert result.returncode == 3
    assert result.stderr.startswith("brokerctl: cannot reach the broker at 127.0.0.1:1: ")


def test_a_broker_that_drains_was_reached(broker):
    broker.on("GetBrokerInfo", Refusal(grpc.StatusCode.UNAVAILABLE, "draining", "DRAINING"))
    assert run(broker, "info").returncode == 1


def test_a_broker_that_does_not_answer(broker):
    with broker.stuck("GetBrokerInfo"):
        result = run(broker, "info", "--timeout", "100ms")
    assert result.returncode == 3
    assert "did not answer within 100 ms" in result.stderr


def test_the_address_comes_from_the_environment(broker):
    assert run(None, "info", env={"SOCKET_BROKER_ADDRESS": broker.address}).returncode == 0
    assert run(broker, "info", env={"SOCKET_BROKER_ADDRESS": "127.0.0.1:1"}).returncode == 0


def test_version_and_help_need_no_broker():
    assert run(None, "--version").stdout.startswith("brokerctl 0.")
    help_text = run(None, "--help")
    assert help_text.returncode == 0
    assert "Exit codes:" in help_text.stdout
    assert "--keep-session" in run(None, "close", "account", "--help").stdout


def test_ask(broker):
    reply = conversation_pb2.ClientReply(result_json=b'{"a":1}')
    broker.on("RequestConnection", conversation_pb2.RequestConnectionResponse(reply=reply))
    assert run(broker, "ask", "c1", "status", "--params", "[1]").stdout == '{"a":1}\n'
    assert broker.of("RequestConnection") == [conversation_pb2.RequestConnectionRequest(
        connection_id="c1", method="status", params_json=b"[1]", want_json=True)]


def test_ask_a_client_that_refuses(broker):
    reply = conversation_pb2.ClientReply(error_json='{"code":1,"message":"no\x1b"}')
    broker.on("RequestConnection", conversation_pb2.RequestConnectionResponse(reply=reply))
    result = run(broker, "ask", "c1", "status")
    assert result.returncode == 1 and result.stdout == "" and '"code":1' in result.stderr and "\x1b" not in result.stderr
