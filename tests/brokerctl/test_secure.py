"""brokerctl keygen, and how brokerctl proves itself to a broker."""

import hashlib
import json
import subprocess
from concurrent import futures

import grpc
import pytest
from fake_broker import Refusal
from running import run
from socketbroker.v1 import socket_broker_pb2 as pb


def test_keygen_makes_a_key_and_its_hash():
    made = [json.loads(run(None, "keygen", "-o", "json").stdout) for _ in range(2)]
    for pair in made:
        assert pair["key"].startswith("sbk_") and len(pair["key"]) == 4 + 64
        assert hashlib.sha256(pair["key"].encode()).hexdigest() == pair["key_hash"]
    assert made[0] != made[1]
    table = run(None, "keygen").stdout
    assert 'key_hash: "' in table and "sbk_" in table


def test_the_key_comes_from_a_file_or_the_environment(broker, tmp_path):
    file = tmp_path / "key"
    file.write_text("k-file\n")
    assert run(broker, "info", "--api-key-file", str(file)).returncode == 0
    assert broker.metadata["authorization"] == "Bearer k-file"
    assert run(broker, "info", env={"SOCKET_BROKER_API_KEY": "k-env"}).returncode == 0
    assert broker.metadata["authorization"] == "Bearer k-env"
    assert run(broker, "info").returncode == 0
    assert "authorization" not in broker.metadata


@pytest.mark.parametrize("content", [None, "", "bad\tkey\n"])
def test_a_key_that_cannot_be_sent(broker, tmp_path, content):
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    result = run(broker, "info", "--api-key-file", str(file))
    assert result.returncode == 2
    assert "key" in result.stderr and "bad" not in result.stderr
    assert not broker.requests


def test_no_option_takes_the_key_itself(broker):
    assert run(broker, "info", "--api-key", "k1").returncode == 2


def test_a_denial_is_told(broker):
    broker.on("GetBrokerInfo", Refusal(grpc.StatusCode.UNAUTHENTICATED, "who are you", "CALLER_MISSING"))
    result = run(broker, "info")
    assert result.returncode == 1
    assert "UNAUTHENTICATED: who are you (CALLER_MISSING)" in result.stderr


@pytest.fixture
def secure(tmp_path):
    """A broker that asks for certificates: its address, and the files to reach it with."""
    pems = {}
    for name in ("server", "client"):
        pems[name] = (tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-days", "1", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
             "-keyout", pems[name][1], "-out", pems[name][0]],
            check=True, capture_output=True,
        )  # fmt: skip
    certificate, key = (path.read_bytes() for path in pems["server"])
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=pems["client"][0].read_bytes(), require_client_auth=True)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    answer = grpc.unary_unary_rpc_method_handler(
        lambda request, _: pb.GetBrokerInfoResponse(epoch=42),
        pb.GetBrokerInfoRequest.FromString, pb.GetBrokerInfoResponse.SerializeToString)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("socketbroker.v1.SocketBroker", {"GetBrokerInfo": answer})])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield f"127.0.0.1:{port}", pems
    server.stop(None).wait()


def test_tls_with_a_certificate(secure):
    address, pems = secure
    ca, (certificate, key) = str(pems["server"][0]), map(str, pems["client"])
    result = run(address, "info", "-o", "json", "--ca", ca, "--cert", certificate, "--key", key)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["epoch"] == "42"
    env = {"SOCKET_BROKER_CA": ca, "SOCKET_BROKER_CERT": certificate, "SOCKET_BROKER_KEY": key}
    assert run(address, "info", env=env).returncode == 0
    # Whom it does not trust, who does not trust it, and no TLS at all.
    assert run(address, "info", "--tls", "--cert", certificate, "--key", key).returncode == 3
    assert run(address, "info", "--ca", ca).returncode == 3
    assert run(address, "info").returncode == 3


def test_files_of_tls_that_are_wrong(broker, tmp_path):
    for arguments, said in ((["--cert", "c.pem"], "together"), (["--ca", str(tmp_path / "none")], "none")):
        result = run(broker, "info", *arguments)
        assert result.returncode == 2
        assert said in result.stderr


def test_a_unix_socket(tmp_path):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    path = tmp_path / "s"
    server.add_insecure_port(f"unix:{path}")
    server.start()
    # Reached, for the answer is that the method is not there.
    result = run(f"unix:{path}", "info")
    server.stop(None).wait()
    assert result.returncode == 1 and "UNIMPLEMENTED" in result.stderr
