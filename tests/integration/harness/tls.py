"""Certificates of the tests' own, and TLS for their sockets."""

import os
import ssl
import subprocess

# CTest runs the tests of sockets once more with it: then every broker speaks TLS.
EVERYWHERE = "BROKER_TEST_TLS" in os.environ


def make_certificate(folder, name="localhost"):
    """Two PEM files in the folder: the certificate and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "1", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )
    return certificate, key


def settings(certificate, key):
    """The flags of a broker that uses them."""
    return [f"--set=websocket.tls.certificate_file={certificate}", f"--set=websocket.tls.private_key_file={key}"]


def trusting(*certificates):
    """The TLS of a client that trusts these and no others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for certificate in certificates:
        context.load_verify_locations(certificate)
    return context
