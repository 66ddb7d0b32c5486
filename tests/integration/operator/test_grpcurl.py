"""An operator with grpcurl and nothing else: no stubs, no protos."""

import json
import os
import subprocess

import pytest

from harness.checks import REVOKED

GRPCURL = os.environ.get("GRPCURL", "build/clients/bin/grpcurl")
SERVICES = {
    "socketbroker.v1.SocketBroker", "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
}


def grpcurl(broker, *arguments, data=None, check=True):
    command = [GRPCURL, "-plaintext", "-max-time", "10"]
    if data is not None:
        command += ["-d", json.dumps(data)]
    result = subprocess.run([*command, broker.control, *arguments], capture_output=True, text=True, timeout=20)
    if check:
        assert result.returncode == 0, result.stderr
        return result.stdout
    return result


def call(broker, method, data=None):
    return json.loads(grpcurl(broker, f"socketbroker.v1.SocketBroker/{method}", data=data or {}))


def reflect(broker, version, request):
    """One request of the reflection protocol itself, in either version."""
    service = f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    return json.loads(grpcurl(broker, service, data=request))


def test_lists_every_service(broker):
    assert SERVICES <= set(grpcurl(broker, "list").split())


def test_describes_every_service_method_and_message(broker):
    for service in SERVICES:
        text = grpcurl(broker, "describe", service)
        assert f"{service} is a service" in text
    methods = grpcurl(broker, "list", "socketbroker.v1.SocketBroker").split()
    assert len(methods) >= 21
    for method in methods:
        text = grpcurl(broker, "describe", method)
        assert f"{method} is a method" in text
    for message in ("CloseSocketsFilteredRequest", "FilterExpr", "Message", "Identity", "Revocation"):
        assert "is a message" in grpcurl(broker, "describe", f"socketbroker.v1.{message}")


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_both_versions_of_reflection_answer(broker, version):
    answer = reflect(broker, version, {"list_services": ""})
    assert SERVICES <= {s["name"] for s in answer["list_services_response"]["service"]}
    for service in SERVICES:
        answer = reflect(broker, version, {"file_containing_symbol": service})
        assert answer["file_descriptor_response"]["file_descriptor_proto"]
    answer = reflect(broker, version, {"file_containing_symbol": "no.such.Thing"})
    assert answer["error_response"]["error_code"] == 5


def test_health(broker):
    for service in ("", "socketbroker.v1.SocketBroker"):
        answer = json.loads(grpcurl(broker, "grpc.health.v1.Health/Check", data={"service": service}))
        assert answer == {"status": "SERVING"}
    result = grpcurl(broker, "grpc.health.v1.Health/Check", data={"service": "no.such"}, check=False)
    assert "NotFound" in result.stderr


def test_revokes_by_hand(broker):
    epoch = call(broker, "GetBrokerInfo")["epoch"]
    who = {"account_id": "a1", "token_hash": "s1", "groups": ["beta"]}
    ticket = call(broker, "CreateTicket", {"identity": who, "verified_at_epoch": epoch})["ticket"]
    socket = broker.connect(ticket)
    listed = call(broker, "ListConnections", {"filter": 'groups:"beta"'})["connections"]
    assert [c["state"] for c in listed] == ["CONNECTION_STATE_ADMITTED"]

    note = {"notification": {"method": "news", "params_struct": {"n": 1}}}
    assert call(broker, "SendToAccount", {"account_id": "a1", "message": note})["queued"] == "1"
    assert socket.receive_json() == {"jsonrpc": "2.0", "method": "news", "params": {"n": 1}}

    spare = call(broker, "CreateTicket", {"identity": who, "verified_at_epoch": epoch})["ticket"]
    assert call(broker, "CloseSocketsForSession", {"token_hash": "s1"})["closed"] == "1"
    assert socket.closed() == REVOKED
    with pytest.raises(Exception, match="401"):
        broker.connect(spare)
    (revocation,) = call(broker, "ListRevocations")["revocations"]
    assert revocation["token_hash"] == "s1"


def test_errors_say_what_is_wrong(broker):
    def error(method, data):
        name = f"socketbroker.v1.SocketBroker/{method}"
        return grpcurl(broker, name, data=data, check=False)

    result = error("CloseSocketsForSession", {"token_hash": ""})
    assert result.returncode != 0
    assert "InvalidArgument" in result.stderr and "token_hash" in result.stderr
    result = error("CountConnections", {"filter": "color = 1"})
    assert "InvalidArgument" in result.stderr and "color" in result.stderr


def test_reflection_can_be_off(start_broker):
    broker = start_broker(config={"reflection": "OFF"})
    result = grpcurl(broker, "list", check=False)
    assert result.returncode != 0 and "reflection" in result.stderr
