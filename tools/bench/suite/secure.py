"""What TLS costs: the same clients, with a certificate of the benchmark's own."""

import subprocess

from suite.measure import Window
from suite.processes import expect
from suite.scenario import Row, Scenario, count_of
from suite.steps import check_calls, check_open, chunks, connect, deliver, mint

SIZES = {128: "128 B", 1024: "1 KiB"}
WARM_UP = 2  # messages to each client


def make_certificate(folder):
    """PEM files of a certificate and its key, ECDSA on P-256."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
               "-days", "1", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        expect(False, "there is no openssl to make a certificate with: install the package openssl")
    expect(done.returncode == 0, f"openssl made no certificate: {done.stderr}")
    return certificate, key


class Tls(Scenario):
    """Clients over TLS 1.3: how they come, what they keep, what messages to them cost."""

    name = "tls"

    def make_rows(self):
        count = count_of(self.profile.small)
        rows = [Row("tls/connect", f"handshakes with TLS and a ticket, {count}", "CPU each", "ns",
                    "TLS and a fixed answer"),
                Row("tls/memory", f"{count} idle clients with TLS and their identities",
                    "resident memory each", "KiB", "sockets with TLS", None, "value")]
        return rows + [Row(f"tls/{size}", f"broadcast over TLS, {text} to {count}", "CPU a delivery", "ns",
                           "encrypt and send") for size, text in SIZES.items()]

    def measure(self, stage, server, load, tickets_for, send):
        results, cpu, count = {}, 0, self.profile.small
        rss = server.rss()
        for first, size in chunks(count):
            tickets = tickets_for(first, size)
            with Window(stage, server) as window:
                check_open(connect(load, server, size, tickets, options="tls=1"), first + size)
            cpu += window.cpu_ns
        results["tls/connect"] = cpu / count
        results["tls/memory"] = (server.rss() - rss) / count / 1024
        messages = max(3, self.profile.deliveries // count // 2)
        for size in SIZES:
            deliver(stage, server, load, count * WARM_UP, lambda: send(WARM_UP, size))
            window, _ = deliver(stage, server, load, count * messages, lambda: send(messages, size))
            results[f"tls/{size}"] = window.cpu_ns / (count * messages)
        return results

    def broker(self, stage):
        certificate, key = make_certificate(stage.folder)
        server = stage.daemon(tls={"certificate_file": str(certificate), "private_key_file": str(key)})
        load, call = stage.load(), stage.call(server)
        call.ask("info count=10")
        return self.measure(
            stage, server, load, lambda first, size: mint(stage, call, first, size),
            lambda count, size: check_calls(
                call.ask(f"broadcast count={count} bytes={size} namespace=raw", 60), count))

    def floor(self, stage):
        certificate, key = make_certificate(stage.folder)
        server, load = stage.floor(), stage.load()
        server.ask(f"tls certificate={certificate} key={key}")
        return self.measure(stage, server, load, lambda first, size: None,
                            lambda count, size: server.ask(f"broadcast count={count} bytes={size}", 60))
