"""The control plane while strangers do what they can, and its return from the dead."""

import socket
import time

from suite.measure import Window
from suite.processes import PATIENCE, expect
from suite.scenario import Row, Scenario, count_of
from suite.steps import check_calls, check_load, fill

MIB = 1024 * 1024


class Floods(Scenario):
    """Handshakes that are garbage, that never end, or that present tickets that are none; GetBrokerInfo is called
    all the time. Then gRPC's listener is killed by the want of descriptors, and is built again."""

    name = "floods"
    once = True
    # What `knock` of bench_load sends, and what may come of it.
    kinds = {"garbage": ("garbage", {"400", "closed"}), "slow": ("handshakes that never end", {"silent", "closed", "503"}),
             "ticket": ("bad tickets", {"401", "429"})}

    def make_rows(self):
        clients = f"{count_of(self.profile.small)} clients, {self.profile.knocks} a second of "
        rows = []
        for key, (title, _) in self.kinds.items():
            rows += [Row(f"floods/{key}/info", clients + title, "p99 of GetBrokerInfo", "ms", "", 50.0, "value"),
                     Row(f"floods/{key}/cpu", clients + title, "CPU of all", "% of a core", "", None, "value")]
        return rows + [Row("floods/left", "all of them", "memory not given back", "MiB", "", None, "value"),
                       Row("floods/revive", "gRPC's listener is dead, descriptors are free again",
                           "time until it answers", "ms", "", 10_000.0, "value")]

    def broker(self, stage):
        server, load = stage.daemon(), stage.load(busy=False)
        call = stage.call(server)
        fill(stage, server, load, call, self.profile.small)
        before, results = server.rss(), {}
        for key, (_, expected) in self.kinds.items():
            load.ask("reset")
            load.tell(f"knock port={server.port} path=/raw rate={self.profile.knocks} what={key} "
                      f"seconds={self.profile.seconds}")
            with Window(stage, server) as window:
                info = check_calls(call.ask(f"info count={int(self.profile.seconds * 50)} rate=50"))
            outcomes = check_load(load.answer())["outcomes"]
            expect(set(outcomes) <= expected, f"what came of {key}: {outcomes}")
            results[f"floods/{key}/info"] = info["p99_ns"] / 1e6
            results[f"floods/{key}/cpu"] = 100 * window.cpu_ns / window.wall_ns
        results["floods/left"] = max(0, server.rss() - before) / MIB
        results["floods/revive"] = self.revive(server)
        return results

    def revive(self, server):
        before = server.limit_descriptors(server.lowest_free_descriptor() + 4)
        held = [connect_to(server.control) for _ in range(16)]
        deadline = time.monotonic() + PATIENCE
        while answers(server.control, 0.5):
            expect(time.monotonic() < deadline, "gRPC's listener did not die: there is nothing to measure")
        for connection in held:
            connection.close()
        server.limit_descriptors(before)
        began = time.monotonic()
        while not answers(server.control, 0.5):
            expect(time.monotonic() - began < 2 * PATIENCE, "the control plane did not come back")
        return (time.monotonic() - began) * 1000


def connect_to(address):
    host, _, port = address.rpartition(":")
    connection = socket.socket()
    connection.settimeout(PATIENCE)
    connection.connect((host, int(port)))
    return connection


def answers(address, patience):
    """Whether an HTTP/2 server says its first word."""
    try:
        with connect_to(address) as connection:
            connection.settimeout(patience)
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
            return connection.recv(1) != b""
    except OSError:
        return False
