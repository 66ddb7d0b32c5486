"""Who may call what: keys, roles, expiry, reload, and the audit of it."""

import datetime
import json
import signal
import subprocess
import threading

import grpc
import pytest
from harness.broker import BINARY, identity
from harness.callers import ROLES, caller, configured, key_of
from harness.checks import fails, notification
from socketbroker import from_publish_error
from socketbroker.error import from_rpc_error
from socketbroker.v1 import socket_broker_pb2 as pb

# One of these, or ADMIN. An RPC that is not here fails the test, as it should.
WANTED = {
    "AddConnection": {"BIND"},
    "AdmitConnection": {"BIND"},
    "UpdateConnection": {"BIND"},
    "UpdateConnectionsFiltered": {"BIND"},
    "RemoveConnection": {"BIND"},
    "CreateTicket": {"BIND"},
    "CloseSocketsForSession": {"REVOKE"},
    "CloseSocketsForAccount": {"REVOKE"},
    "CloseSocketsForToken": {"REVOKE"},
    "CloseSocketsFiltered": {"REVOKE"},
    "ListRevocations": {"REVOKE", "READ"},
    "LiftRevocation": set(),
    "Send": {"SEND"},
    "SendToConnection": {"SEND"},
    "SendToAccount": {"SEND"},
    "BroadcastFiltered": {"SEND"},
    "RequestConnection": {"SEND"},
    "RequestFiltered": {"SEND"},
    "Publish": {"SEND", "BIND", "REVOKE"},
    "GetConnection": {"READ"},
    "ListConnections": {"READ"},
    "CountConnections": {"READ"},
    "WatchConnections": {"READ"},
    "Attach": {"LISTEN"},
    "GetBrokerInfo": set(ROLES),
}
METHODS = pb.DESCRIPTOR.services_by_name["SocketBroker"].methods
CANARY = "canary"


@pytest.fixture
def broker(start_broker):
    """One caller for each role, of the same name."""
    return start_broker(config=configured(*(caller(role, role) for role in ROLES)), api_key=key_of("ADMIN"))


def call(channel, method, metadata=(), request=b""):
    """Calls any method, and returns its error, or None."""
    kind = ("stream" if method.client_streaming else "unary") + "_" + (
        "stream" if method.server_streaming else "unary")
    stub = getattr(channel, kind)(f"/socketbroker.v1.SocketBroker/{method.name}", bytes, bytes)
    argument = iter([request] if request else []) if method.client_streaming else request
    try:
        answer = stub(argument, timeout=10, metadata=metadata)
        if method.server_streaming:
            next(iter(answer), None)
            answer.cancel()
    except grpc.RpcError as error:
        return from_rpc_error(error)
    return None


def bearer(key):
    return (("authorization", f"Bearer {key}"),)


def test_every_method_and_every_role(broker):
    assert {method.name for method in METHODS} == set(WANTED)
    denied = 0
    with grpc.insecure_channel(broker.control) as channel:
        for method in METHODS:
            for role in ROLES:
                error = call(channel, method, bearer(key_of(role)))
                allowed = role == "ADMIN" or role in WANTED[method.name]
                code = None if error is None else error.code
                assert code != grpc.StatusCode.UNAUTHENTICATED
                assert (code != grpc.StatusCode.PERMISSION_DENIED) == allowed, (method.name, role, code)
                if allowed:
                    continue
                denied += 1
                assert error.reason == "ROLE_MISSING"
                assert method.name in error.message
                assert error.metadata["method"] == method.name and error.metadata["caller"] == role
                wanted = {name.upper() for name in error.metadata["roles"].split(", ")} - {""}
                assert wanted == (WANTED[method.name] or {"ADMIN"})
    # Those of strangers are cut when there are too many; these are too few.
    broker.wait_log(lambda: denied == len(
        [e for e in broker.events("audit") if e["outcome"] == "PERMISSION_DENIED"]), "a line for every denial")


def test_nobody_is_known_without_a_good_key(broker):
    answers = set()
    with grpc.insecure_channel(broker.control) as channel:
        for method in METHODS:
            error = call(channel, method)
            assert error.code == grpc.StatusCode.UNAUTHENTICATED and error.reason == "CALLER_MISSING", method.name
            for metadata in (bearer("no-such-key"), bearer(""), (("authorization", "Basic abc"),),
                             (("authorization", key_of("ADMIN")),), bearer(key_of("ADMIN")) + bearer(key_of("READ"))):
                error = call(channel, method, metadata)
                assert error.code == grpc.StatusCode.UNAUTHENTICATED, method.name
                answers.add((error.reason, error.message))
    assert len(answers) == 1
    line = broker.wait_for_log("audit")
    assert line["outcome"] == "UNAUTHENTICATED" and "127.0.0.1" in line["caller"]
    assert CANARY not in broker.log()


def list_services(channel, version, metadata=()):
    method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    ask = b"\x3a\x00"  # list_services: ""
    return next(channel.stream_stream(method, bytes, bytes)(iter([ask]), timeout=10, metadata=metadata))


def test_health_is_for_everybody_and_reflection_for_callers(broker):
    with grpc.insecure_channel(broker.control) as channel:
        health = channel.unary_unary("/grpc.health.v1.Health/Check", bytes, bytes)
        assert health(b"", timeout=10) == b"\x08\x01"  # SERVING
        for version in ("v1", "v1alpha"):
            with pytest.raises(grpc.RpcError) as caught:
                list_services(channel, version)
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
            answer = list_services(channel, version, bearer(key_of("LISTEN")))
            assert b"socketbroker.v1.SocketBroker" in answer


def test_reflection_that_is_off(start_broker):
    broker = start_broker("--set=reflection=OFF")
    with grpc.insecure_channel(broker.control) as channel:
        for version in ("v1", "v1alpha"):
            with pytest.raises(grpc.RpcError) as caught:
                list_services(channel, version)
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_items_of_publish_have_the_rules_of_their_calls(broker):
    socket = broker.join("a1")
    items = [
        pb.PublishItem(send_to_account=pb.SendToAccountRequest(account_id="a1", message=notification())),
        pb.PublishItem(close_sockets_for_account=pb.CloseSocketsForAccountRequest(account_id="a1")),
        pb.PublishItem(remove_connection=pb.RemoveConnectionRequest(connection_id=socket.id)),
    ]
    client = broker.client_with(key_of("SEND"))
    (response,) = client.publish(iter([pb.PublishRequest(items=items)]))
    assert response.results[0].send_to_account.queued == 1
    for result, method in zip(response.results[1:], ("CloseSocketsForAccount", "RemoveConnection")):
        error = from_publish_error(result.error)
        assert error.code == grpc.StatusCode.PERMISSION_DENIED and error.metadata["method"] == method
    assert socket.is_open()
    broker.wait_log(lambda: {"CloseSocketsForAccount", "RemoveConnection"} == {
        e["method"] for e in broker.events("audit") if e["caller"] == "SEND" and e["outcome"] == "PERMISSION_DENIED"
    }, "a line for each denial")


def test_keys_expire_and_are_disabled(start_broker):
    past = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=1)).isoformat()
    broker = start_broker(config=configured(
        caller("old", "READ", expires_at=past), caller("off", "READ", enabled=False),
        caller("new", "READ", expires_at="2100-01-01T00:00:00Z")))
    broker.client_with(key_of("new")).count_connections(pb.CountConnectionsRequest())
    with fails("UNAUTHENTICATED", "CALLER_EXPIRED"):
        broker.client_with(key_of("old")).count_connections(pb.CountConnectionsRequest())
    with fails("UNAUTHENTICATED", "CALLER_UNKNOWN"):
        broker.client_with(key_of("off")).count_connections(pb.CountConnectionsRequest())


def reload(broker, config, event="reloaded"):
    broker.write_config(config)
    before = len(broker.events(event))
    broker.signal(signal.SIGHUP)
    return broker.wait_for_log(event, before + 1)


def test_callers_change_at_sighup(start_broker):
    first = configured(caller("admin", "ADMIN"), caller("one", "READ", "SEND"))
    broker = start_broker(config=first, api_key=key_of("admin"))
    one, two = broker.client_with(key_of("one")), broker.client_with(key_of("two"))
    with fails("UNAUTHENTICATED"):
        two.count_connections(pb.CountConnectionsRequest())
    watch = one.watch_connections(pb.WatchConnectionsRequest())
    assert next(watch).HasField("snapshot_end")

    reload(broker, configured(caller("admin", "ADMIN"), caller("one", "SEND"), caller("two", "READ")))
    two.count_connections(pb.CountConnectionsRequest())
    with fails("PERMISSION_DENIED", "ROLE_MISSING"):
        one.count_connections(pb.CountConnectionsRequest())
    # What a stream may see is asked again before it is shown.
    broker.join("a1")
    with fails("PERMISSION_DENIED", "ROLE_MISSING"):
        next(watch)

    reload(broker, configured(caller("admin", "ADMIN")))
    with fails("UNAUTHENTICATED"):
        one.send(pb.SendRequest(message=notification()))


def test_a_publish_stream_ends_with_its_key(start_broker):
    broker = start_broker(config=configured(caller("admin", "ADMIN"), caller("one", "SEND")))
    request = pb.PublishRequest(items=[pb.PublishItem(send=pb.SendRequest(message=notification()))])

    answered = threading.Event()

    def requests():
        yield request
        assert answered.wait(15)
        reload(broker, configured(caller("admin", "ADMIN")))
        yield request

    answers = broker.client_with(key_of("one")).publish(requests())
    assert next(answers).results[0].HasField("send")
    answered.set()
    with fails("UNAUTHENTICATED", "CALLER_UNKNOWN"):
        next(answers)


def test_a_reload_never_opens_the_door(start_broker):
    broker = start_broker(config=configured(caller("one", "READ")))
    faults = reload(broker, {}, "reload_failed")["faults"]
    assert "control.callers" in faults
    with fails("UNAUTHENTICATED"):
        broker.client_with().count_connections(pb.CountConnectionsRequest())
    bad = caller("one", "READ")
    bad["key_hash"] = key_of("one")  # the key itself, by mistake
    assert "key_hash" in reload(broker, configured(bad), "reload_failed")["faults"]
    assert CANARY not in broker.log()
    broker.client_with(key_of("one")).count_connections(pb.CountConnectionsRequest())


def test_the_first_callers_come_at_sighup_too(start_broker):
    broker = start_broker(config={})
    broker.client.count_connections(pb.CountConnectionsRequest())
    reload(broker, configured(caller("one", "READ")))
    with fails("UNAUTHENTICATED"):
        broker.client.count_connections(pb.CountConnectionsRequest())
    broker.client_with(key_of("one")).count_connections(pb.CountConnectionsRequest())


def test_request_ids_are_of_one_caller(start_broker):
    broker = start_broker(config=configured(caller("one", "SEND"), caller("two", "SEND")))
    request = pb.SendRequest(message=notification("one"), request_id="r1")
    broker.client_with(key_of("one")).send(request)
    other = pb.SendRequest(message=notification("two"), request_id="r1")
    broker.client_with(key_of("two")).send(other)
    with fails("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        broker.client_with(key_of("one")).send(other)


def test_the_audit_tells_who_did_what_and_no_secret(start_broker):
    broker = start_broker(config=configured(caller("ops", "ADMIN")), api_key=key_of("ops"))
    who = dict(session="session-canary", labels={"tenant": "label-canary"})
    socket = broker.join("account-canary", **who)
    pending = broker.pend()
    broker.client.add_connection(pb.AddConnectionRequest(connection_id=pending.id, identity=identity("account-canary")))
    broker.client.send_to_account(pb.SendToAccountRequest(
        account_id="account-canary", message=notification("text-canary")))
    closed = broker.client.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id="account-canary"))
    broker.client.lift_revocation(pb.LiftRevocationRequest(revocation_id=closed.revocation_id))
    with fails("INVALID_ARGUMENT"):
        broker.client.remove_connection(pb.RemoveConnectionRequest(connection_id="id-canary"))
    with fails("INVALID_ARGUMENT"):
        broker.client.close_sockets_filtered(pb.CloseSocketsFilteredRequest(filter='nope = "filter-canary"'))
    def last_is_there():
        lines = {e["method"]: e for e in broker.events("audit")}
        return lines if "CloseSocketsFiltered" in lines else None

    lines = broker.wait_log(last_is_there, "the last line")
    assert all(e["caller"] == "ops" for e in lines.values())
    close = lines["CloseSocketsForAccount"]
    assert (close["outcome"], close["closed"], close["namespace"]) == ("OK", 2, "*")
    assert close["epoch"] == closed.epoch and close["revocation_id"] == closed.revocation_id
    # The same account is the same in every line.
    assert close["target"].startswith("account ") and close["target"] == lines["CreateTicket"]["target"]
    assert lines["AddConnection"]["target"] == f"connection {pending.id}"
    assert lines["LiftRevocation"]["target"] == f"revocation {closed.revocation_id}"
    assert lines["RemoveConnection"]["outcome"] == "INVALID_ARGUMENT"
    assert lines["CloseSocketsFiltered"]["target"].startswith("filter ")
    assert "SendToAccount" not in lines and "GetConnection" not in lines
    assert CANARY not in broker.log()
    assert socket.closed()[0] == 4001


def test_the_audit_of_sends_is_configured(start_broker):
    broker = start_broker(config={"log": {"audit": "ALL"}})
    broker.join("a1")
    broker.client.send(pb.SendRequest(message=notification("text-canary")))
    line = broker.wait_for_log("audit", 2)
    assert (line["method"], line["caller"], line["queued"]) == ("Send", "anonymous", 1)
    item = pb.PublishItem(send=pb.SendRequest(message=notification()))
    bad = pb.PublishItem(send=pb.SendRequest(message=notification(), namespace="nowhere"))
    list(broker.client.publish(iter([pb.PublishRequest(items=[item] * 3 + [bad])])))
    line = broker.wait_for_log("audit", 3)
    assert {k: line[k] for k in ("method", "items", "queued", "errors", "denied")} == {
        "method": "Publish", "items": 4, "queued": 3, "errors": 1, "denied": 0}
    assert CANARY not in broker.log()


@pytest.mark.parametrize("settings, key, part", [
    ({"callers": [{"name": "a", "roles": ["READ"]}]}, "control.callers[0].key_hash", "required"),
    ({"callers": [{"name": "a", "key_hash": "0" * 64}]}, "control.callers[0].roles", "required"),
    ({"callers": [caller("a", "READ"), caller("a", "SEND")]}, "control.callers[1].name", "control.callers[0].name"),
    ({"callers": [caller("a b", "READ")]}, "control.callers[0].name", "a b"),
    ({"callers": [caller("a", "READ", filter="endpoint = x")]}, "control.callers[0].filter", "identity"),
    ({"callers": [caller("a", "READ", filter="nope = x")]}, "control.callers[0].filter", "nope"),
    ({"callers": [caller("a", "READ", namespaces=["B!"])]}, "control.callers[0].namespaces[0]", "B!"),
    ({"callers": [caller("a", "READ", expires_at="soon")]}, "control.callers[0].expires_at", "soon"),
    ({"callers": [{"name": "a", "certificate_name": "x", "roles": ["READ"]}]},
     "control.callers[0].certificate_name", "client_ca_file"),
])
def test_faults_of_callers_are_named(start_broker, tmp_path, settings, key, part):
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps({"control": settings}))
    result = subprocess.run([BINARY, "--config", file], capture_output=True, text=True, timeout=30)
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if key in line]
    assert part in line
    assert CANARY not in result.stderr
