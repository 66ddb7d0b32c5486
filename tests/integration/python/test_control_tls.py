"""The gRPC listener: TLS, client certificates, a Unix-domain socket, and what it
refuses to be."""

import json
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess

import grpc
import pytest
from harness import tls
from harness.broker import BINARY, Broker
from harness.callers import caller, key_of
from harness.checks import fails
from socketbroker import tls_from_files
from socketbroker.v1 import socket_broker_pb2 as pb

INFO = pb.GetBrokerInfoRequest()


@pytest.fixture
def pems(tmp_path):
    """The files of the broker, and those of a caller."""
    server, client = tmp_path / "server", tmp_path / "client"
    server.mkdir(), client.mkdir()
    return tls.make_certificate(server), tls.make_certificate(client, "billing")


def control_tls(files, **more):
    return {"tls": {"certificate_file": str(files[0]), "private_key_file": str(files[1]), **more}}


def trusting(files, own=(None, None)):
    return tls_from_files(str(files[0]), *(None if f is None else str(f) for f in own))


def unreachable(client):
    """The call must not get as far as the broker."""
    client._wait_for_ready = False
    with fails("UNAVAILABLE"):
        client.get_broker_info(INFO)


def test_tls(start_broker, pems, tmp_path):
    server, other = pems
    broker = start_broker(config={"control": control_tls(server)}, credentials=trusting(server))
    assert broker.client.get_broker_info(INFO).ready
    unreachable(broker.client_with())
    unreachable(broker.client_with(credentials=trusting(other)))


def test_client_certificates(start_broker, pems):
    server, client = pems
    broker = start_broker(config={"control": control_tls(server, client_ca_file=str(client[0]))},
                          credentials=trusting(server, client))
    assert broker.client.get_broker_info(INFO).ready
    unreachable(broker.client_with(credentials=trusting(server)))
    unreachable(broker.client_with(credentials=trusting(server, server)))
    # Without callers they may do everything, under their names.
    broker.client.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id="a1"))
    assert broker.wait_for_log("audit")["caller"] == "billing"


def test_client_certificates_that_are_callers(start_broker, pems):
    server, client = pems
    control = control_tls(server, client_ca_file=str(client[0]))
    control["callers"] = [{"name": "invoices", "certificate_name": "billing", "roles": ["READ"]},
                          caller("closer", "REVOKE")]
    broker = start_broker(config={"control": control}, credentials=trusting(server, client))
    broker.client.count_connections(pb.CountConnectionsRequest())
    with fails("PERMISSION_DENIED", "ROLE_MISSING"):
        broker.client.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id="a1"))
    assert broker.wait_for_log("audit")["caller"] == "invoices"
    # A key says more than the connection that it comes by.
    keyed = broker.client_with(key_of("closer"), trusting(server, client))
    keyed.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id="a1"))
    with fails("UNAUTHENTICATED", "CALLER_UNKNOWN"):
        broker.client_with("bad", trusting(server, client)).get_broker_info(INFO)
    # Signed by the authority, and nobody's.
    control["callers"][0]["certificate_name"] = "someone-else"
    broker.write_config({"control": control})
    broker.signal(signal.SIGHUP)
    broker.wait_for_log("reloaded")
    with fails("UNAUTHENTICATED", "CALLER_MISSING"):
        broker.client.count_connections(pb.CountConnectionsRequest())


def test_a_new_certificate_at_sighup(start_broker, pems, tmp_path):
    server, other = pems
    (tmp_path / "new").mkdir()
    new = tls.make_certificate(tmp_path / "new")
    broker = start_broker(config={"control": control_tls(server)}, credentials=trusting(server))
    watch = broker.client.watch_connections(pb.WatchConnectionsRequest())
    assert next(watch).HasField("snapshot_end")
    old = trusting(server)

    # A pair that does not fit changes nothing.
    shutil.copy(new[0], server[0])
    broker.signal(signal.SIGHUP)
    faults = broker.wait_for_log("reload_failed")["faults"]
    assert "control.tls.private_key_file" in faults and "not the key" in faults
    assert broker.client_with(credentials=old).get_broker_info(INFO).ready

    shutil.copy(new[1], server[1])
    broker.signal(signal.SIGHUP)
    broker.wait_for_log("reloaded")
    assert broker.client_with(credentials=trusting(new)).get_broker_info(INFO).ready
    unreachable_channel(broker, old)
    # Who is connected stays so.
    broker.join("a1")
    assert next(watch).HasField("added")
    watch.cancel()


def unreachable_channel(broker, credentials):
    # A channel of its own: gRPC shares connections between those that are alike.
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(broker.control, credentials, options) as channel:
        call = channel.unary_unary("/socketbroker.v1.SocketBroker/GetBrokerInfo", bytes, bytes)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_unix_socket_beside_tcp(start_broker, tmp_path):
    path = tmp_path / "broker.sock"
    broker = start_broker(f"--set=control.unix_socket={path}")
    assert broker.client_with(target=f"unix:{path}").get_broker_info(INFO).control_address == broker.control
    assert broker.control.startswith("127.0.0.1:")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o660


def test_a_unix_socket_alone(start_broker, tmp_path):
    path = tmp_path / "broker.sock"
    settings = [f"--set=control.unix_socket={path}", "--set=control.tcp=false"]
    broker = start_broker(*settings)
    assert broker.control == f"unix:{path}"
    assert broker.client.get_broker_info(INFO).ready
    # Its place is not taken while it lives, and free when it does not.
    second = Broker(tmp_path, *settings, ready=False)
    assert second.wait() == 1
    assert "another process listens there" in second.log()
    broker.client.close()  # gRPC would share its connection with the next
    broker.signal(signal.SIGKILL)
    broker.wait()
    broker.process.returncode = 0  # it was told to
    assert start_broker(*settings).client.get_broker_info(INFO).ready


def test_a_unix_socket_wants_keys_like_any_other(start_broker, tmp_path):
    path = tmp_path / "broker.sock"
    broker = start_broker(f"--set=control.unix_socket={path}", config={"control": {"callers": [caller("a", "READ")]}})
    with fails("UNAUTHENTICATED"):
        broker.client_with(target=f"unix:{path}").get_broker_info(INFO)
    broker.client_with(key_of("a"), target=f"unix:{path}").get_broker_info(INFO)


def test_a_listener_for_everybody_wants_tls_and_callers(start_broker, pems, tmp_path):
    server, client = pems
    anywhere = {"address": "0.0.0.0"}
    keyed = {"callers": [caller("a", "READ")]}
    refusals = [
        (anywhere, "control.tls"),
        ({**anywhere, **keyed}, "control.tls"),
        ({**anywhere, **control_tls(server)}, "control.callers (API keys) or control.tls.client_ca_file (mTLS)"),
        ({"tcp": False}, "control.unix_socket"),
    ]
    for control, said in refusals:
        file = tmp_path / "config.yaml"
        file.write_text(json.dumps({"control": control}))
        result = subprocess.run([BINARY, "--config", file], capture_output=True, text=True, timeout=30)
        assert result.returncode == 2
        assert said in result.stderr
    result = subprocess.run([BINARY, "--set=admin.address=0.0.0.0"], capture_output=True, text=True, timeout=30)
    assert result.returncode == 2 and "admin.address" in result.stderr

    for control in ({**anywhere, **control_tls(server), **keyed},
                    {**anywhere, **control_tls(server, client_ca_file=str(client[0]))}):
        broker = start_broker(config={"control": control})
        target = f"localhost:{broker.control.rpartition(':')[2]}"
        answer = broker.client_with(key_of("a"), trusting(server, client), target).get_broker_info(INFO)
        assert answer.ready
        # Reflection is for loopback.
        method = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        with grpc.secure_channel(target, trusting(server, client)) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                next(channel.stream_stream(method, bytes, bytes)(iter([b"\x3a\x00"]), timeout=10))
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_reload_cannot_leave_an_open_listener_without_callers(start_broker, pems):
    server, _ = pems
    control = {"address": "0.0.0.0", **control_tls(server), "callers": [caller("a", "READ")]}
    broker = start_broker(config={"control": control})
    # As it is written it would be on loopback; as it runs it is not.
    broker.write_config({"control": {}})
    broker.signal(signal.SIGHUP)
    assert "control.callers" in broker.wait_for_log("reload_failed")["faults"]


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        assert part, "closed without GOAWAY"
        data += part
    return data


def test_a_caller_that_pings_too_often_is_sent_away(broker):
    host, port = broker.control.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=15) as connection:
        settings = struct.pack(">I", 0)[1:] + b"\x04\x00" + b"\x00" * 4
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
        ping = struct.pack(">I", 8)[1:] + b"\x06\x00" + b"\x00" * 4 + b"12345678"
        connection.sendall(ping * 6)
        while True:
            header = read_exactly(connection, 9)
            payload = read_exactly(connection, int.from_bytes(header[:3], "big"))
            if header[3] == 7:  # GOAWAY
                break
    code = int.from_bytes(payload[4:8], "big")
    assert code == 11 and payload[8:] == b"too_many_pings"  # ENHANCE_YOUR_CALM
    assert broker.client.get_broker_info(INFO).ready
