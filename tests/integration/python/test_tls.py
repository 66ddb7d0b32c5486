"""TLS of the listener for clients, as an operator and a client meet it."""

import os
import shutil
import signal
import ssl

import pytest
from harness import raw, tls
from harness.checks import notification
from socketbroker.v1 import socket_broker_pb2 as pb


@pytest.fixture
def broker(start_broker):
    return start_broker(use_tls=True)


def send(broker, account, method):
    request = pb.SendToAccountRequest(account_id=account, message=notification(method))
    return broker.client.send_to_account(request).queued


def test_a_client_that_verifies(broker):
    socket = broker.join("a1")
    assert send(broker, "a1", "hello") == 1
    assert socket.receive_json()["method"] == "hello"
    assert broker.started["websocket_tls"] is True
    assert broker.client.get_broker_info(pb.GetBrokerInfoRequest()).websocket_tls


def test_a_client_that_trusts_another(broker, tmp_path):
    other, _ = tls.make_certificate(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        raw.dial(broker.websocket_port, tls=tls.trusting(other))
    assert broker.wait_for_log("tls_failed")["reason"]
    assert broker.metric("tls_failures_total") == 1


def test_a_client_without_tls(broker):
    response = raw.exchange(broker.websocket_port, raw.request())
    assert response.status == 400
    assert response.body == b"this port speaks TLS: connect to wss://\n"


def test_a_megabyte(broker):
    socket = broker.join("a1")
    text = "x" * 1_000_000
    request = pb.SendToAccountRequest(account_id="a1")
    request.message.notification.method = "big"
    request.message.notification.params_struct.update({"text": text})
    assert broker.client.send_to_account(request).queued == 1
    assert socket.receive_json()["params"]["text"] == text


def test_the_oldest_version_is_configured(start_broker):
    for flags, version in (([], "TLSv1.2"), (["--set=websocket.tls.min_version=TLS1_3"], None)):
        broker = start_broker(*flags, use_tls=True)
        broker.tls.maximum_version = ssl.TLSVersion.TLSv1_2
        if version is not None:
            with broker.dial() as connection:
                assert connection.version() == version
        else:
            with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                broker.dial()


def test_a_new_certificate_at_sighup(broker, tmp_path):
    before = broker.join("a1")
    old = broker.tls
    certificate, key = tls.make_certificate(tmp_path)
    shutil.copy(certificate, broker.certificate)
    shutil.copy(key, broker.key)
    expires = broker.metric("certificate_expiry_timestamp_seconds")
    broker.signal(signal.SIGHUP)
    broker.wait_for_log("reloaded")
    assert broker.metric("certificate_expiry_timestamp_seconds") >= expires > 0
    broker.tls = tls.trusting(certificate)
    after = broker.join("a2")
    with pytest.raises(ssl.SSLCertVerificationError):
        broker.connect(broker.ticket("a3"), ssl=old)
    for account, socket in (("a1", before), ("a2", after)):
        assert send(broker, account, "hello") == 1
        assert socket.receive_json()["method"] == "hello"


def test_a_bad_certificate_at_sighup_changes_nothing(broker):
    broker.certificate.write_text("nothing")
    broker.signal(signal.SIGHUP)
    faults = broker.wait_for_log("reload_failed")["faults"]
    assert faults == (f'websocket.tls.certificate_file: "{broker.certificate}" has no certificate in PEM form '
                      "that OpenSSL takes")
    socket = broker.join("a1")
    assert send(broker, "a1", "hello") == 1
    assert socket.receive_json()["method"] == "hello"


def test_tls_begins_and_ends_with_a_restart(start_broker, tmp_path):
    plain = start_broker(config={}, use_tls=False)
    certificate, key = tls.make_certificate(tmp_path)
    plain.write_config({"websocket": {"tls": {
        "certificate_file": os.fspath(certificate), "private_key_file": os.fspath(key)}}})
    plain.signal(signal.SIGHUP)
    assert plain.wait_for_log("reload_incomplete")["keys"] == "websocket.tls"
    plain.wait_for_log("reloaded")
    plain.join("a1").ping()


def test_no_start_without_the_files(start_broker, tmp_path):
    broker = start_broker(*tls.settings(tmp_path / "none.pem", tmp_path / "none.key"), ready=False, use_tls=False)
    assert broker.wait() == 2
    assert f'websocket.tls.certificate_file: "{tmp_path}/none.pem" cannot be read: No such file' in broker.log()
    broker.stop = lambda: 0  # it has ended as it should
