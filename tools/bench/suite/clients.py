"""What clients cost by being there, by coming, and by talking."""

from suite.measure import Window
from suite.processes import expect
from suite.scenario import Row, Scenario, count_of
from suite.steps import (check_load, check_open, chunks, connect, fill, fill_floor, mint)

FULL_SPEED = 0


class Inbound(Scenario):
    """JSON-RPC notifications that nobody listens to: read, unmasked, checked, dropped."""

    name = "inbound"

    def __init__(self, profile):
        # A rate at which nearly every message wakes the server, and none at all.
        self.rates = {"paced": 40_000 if profile.has_goals else 5_000, "full": FULL_SPEED}
        super().__init__(profile)

    def make_rows(self):
        text = f"JSON-RPC of 128 B from {count_of(self.profile.small)} clients, "
        how = {"paced": f"{count_of(self.rates['paced'])} a second", "full": "as fast as they can"}
        return [Row(f"inbound/{key}", text + how[key], "CPU a message", "ns", "receive and look", 1.3)
                for key in self.rates]

    def measure(self, stage, server, load):
        results = {}
        for key, rate in self.rates.items():
            count = self.profile.inbound
            load.ask("reset")
            load.ask(f"send count={count // 10} bytes=128 rate={rate}")
            with Window(stage, server) as window:
                check_load(load.ask(f"send count={count} bytes=128 rate={rate}", 60))
            results[f"inbound/{key}"] = window.cpu_ns / count
        return results

    def broker(self, stage):
        server, load = stage.daemon(), stage.load()
        call = stage.call(server)
        fill(stage, server, load, call, self.profile.small, path="/ws", namespace="default")
        return self.measure(stage, server, load)

    def floor(self, stage):
        server, load = stage.floor(), stage.load()
        fill_floor(server, load, self.profile.small)
        return self.measure(stage, server, load)


class Coming(Scenario):
    """Handshakes with a ticket, and the memory of those who have come."""

    name = "connect"

    def make_rows(self):
        large = count_of(self.profile.large)
        return [Row("connect/cpu", f"handshakes with a ticket, {large}", "CPU each", "ns",
                    "a fixed answer", 2.6),
                Row("connect/memory", f"{large} idle clients with their identities",
                    "resident memory each", "KiB", "bare sockets", 3.5, "value")]

    def measure(self, stage, server, load, tickets_for):
        """In chunks, because tickets are short-lived; making them is in no window."""
        cpu, large = 0, self.profile.large
        rss = server.rss()
        for first, size in chunks(large):
            tickets = tickets_for(first, size)
            with Window(stage, server) as window:
                check_open(connect(load, server, size, tickets), first + size)
            cpu += window.cpu_ns
        return {"connect/cpu": cpu / large, "connect/memory": (server.rss() - rss) / large / 1024}

    def broker(self, stage):
        server, load = stage.daemon(), stage.load()
        call = stage.call(server)
        call.ask("info count=10")
        return self.measure(stage, server, load, lambda first, size: mint(stage, call, first, size))

    def floor(self, stage):
        server, load = stage.floor(), stage.load()
        return self.measure(stage, server, load, lambda first, size: None)


class Pings(Scenario):
    """Idle clients that are asked once a second whether they live."""

    name = "pings"

    @property
    def times(self):
        return max(1, int(self.profile.seconds / 2))

    def make_rows(self):
        return [Row("pings", f"{count_of(self.profile.medium)} idle clients, a ping a second",
                    "CPU a round trip", "ns", "send and receive", 3.0)]

    def measure(self, stage, server, load, pings):
        with Window(stage, server) as window:
            answer = check_load(load.ask(f"await pings={pings}", 60))
        expect(answer["pings"] >= pings, f"{answer['pings']} of {pings} pings came")
        return {"pings": window.cpu_ns / answer["pings"]}

    def broker(self, stage):
        # The next ping comes when both have passed. In a smoke test, where nobody is
        # in time, it does not come, and nobody is late.
        timeout = "10s" if self.times == 1 else "1s"
        server = stage.daemon(limits={"ping_interval": "1s", "pong_timeout": timeout})
        load = stage.load()
        fill(stage, server, load, stage.call(server), self.profile.medium)
        load.ask("reset")
        if self.times == 1:
            return self.measure(stage, server, load, self.profile.medium)
        # Until everybody had one: from then on it is steady.
        load.ask(f"await pings={self.profile.medium}")
        load.ask("reset")
        return self.measure(stage, server, load, self.profile.medium * self.times)

    def floor(self, stage):
        server, load = stage.floor(), stage.load()
        fill_floor(server, load, self.profile.medium)
        load.ask("reset")
        server.tell(f"ping every_ms=1000 count={self.times}")
        result = self.measure(stage, server, load, self.profile.medium * self.times)
        server.answer()
        return result
