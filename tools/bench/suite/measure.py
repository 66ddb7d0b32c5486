"""What a window of time cost the server, and what else the machine did meanwhile."""

import os
import pathlib
import statistics
import time

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def busy_ns_by_core():
    """Of each core, since boot: all but idle and iowait, steal with it."""
    busy = {}
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            numbers = [int(field) for field in fields[:8]]
            busy[int(name[3:])] = (sum(numbers) - numbers[3] - numbers[4]) * TICK_NS
    return busy


class Noise:
    """How busy others kept the cores during the windows of a scenario."""

    def __init__(self):
        self.wall = 0
        self.others = 0
        self.others_on_server_core = 0

    def add(self, wall, others, others_on_server_core):
        self.wall += wall
        self.others += others
        self.others_on_server_core += others_on_server_core

    def text(self, pinned):
        if not self.wall:
            return ""
        def percent(ns):
            return f"{max(0.0, 100 * ns / self.wall):.0f} %"
        if not pinned:
            return percent(self.others)
        return f"{percent(self.others_on_server_core)} / {percent(self.others)}"


class Window:
    """The CPU time of a server between entering and leaving."""

    def __init__(self, stage, server):
        self._stage = stage
        self._server = server

    def _look(self):
        ours = sum(child.cpu_ns() for child in self._stage.children) + time.process_time_ns()
        return time.monotonic_ns(), self._server.cpu_ns(), ours, busy_ns_by_core()

    def __enter__(self):
        self._before = self._look()
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        wall, server, ours, busy = self._look()
        wall_before, server_before, ours_before, busy_before = self._before
        self.cpu_ns = server - server_before
        self.wall_ns = wall - wall_before
        all_busy = sum(busy[core] - busy_before[core] for core in busy)
        bench = self._stage.bench
        on_core = 0
        if bench.server_core is not None:
            core = bench.server_core
            on_core = busy[core] - busy_before[core] - self.cpu_ns
        bench.noise.add(self.wall_ns, all_busy - (ours - ours_before), on_core)


def median(values):
    return statistics.median(values)
