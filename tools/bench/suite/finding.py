"""What it costs to find connections, and how long it takes to close many of them."""

from suite.measure import Window
from suite.processes import expect
from suite.scenario import Row, Scenario, count_of
from suite.steps import (check_calls, check_load, check_open, chunks, connect, deliver, fill,
                         fill_floor, mint)

TEAM = 10  # clients in a group: see MakeIdentity in bench_call


class Pinned(Scenario):
    """A filter that an index serves must not care how many others there are."""

    name = "pinned"

    def make_rows(self):
        small, large = count_of(self.profile.small), count_of(self.profile.large)
        return [Row("pinned", f"BroadcastFiltered to a group of {TEAM} among {large}", "CPU a call", "ns",
                    f"the same among {small}", 1.5)]

    def measure(self, stage, connections):
        server, load = stage.daemon(), stage.load()
        call = stage.call(server)
        fill(stage, server, load, call, connections)

        def send(count):
            answer = check_calls(call.ask(f"broadcast count={count} bytes=128 namespace=raw "
                                          'filter=groups:"team-1"', 60), count)
            expect(answer["matched"] == TEAM * count, f"{answer['matched']} matched")
        count = max(50, self.profile.calls // 20)
        deliver(stage, server, load, TEAM * 50, lambda: send(50))
        window, _ = deliver(stage, server, load, TEAM * count, lambda: send(count))
        return {"pinned": window.cpu_ns / count}

    def broker(self, stage):
        return self.measure(stage, self.profile.large)

    def floor(self, stage):
        return self.measure(stage, self.profile.small)


class Scan(Scenario):
    """A filter that no index serves looks at every connection."""

    name = "scan"

    def make_rows(self):
        large = count_of(self.profile.large)
        return [Row("scan", f"BroadcastFiltered by an unindexed label, none of {large}",
                    "CPU a connection", "ns", "bare send", 1.5, "percent")]

    def broker(self, stage):
        server, load = stage.daemon(), stage.load()
        call = stage.call(server)
        fill(stage, server, load, call, self.profile.large)
        count = max(10, self.profile.calls // 200)
        load.ask("reset")
        for calls in (5, count):
            with Window(stage, server) as window:
                answer = check_calls(call.ask(f"broadcast count={calls} bytes=128 namespace=raw "
                                              'filter=labels.region = "nowhere"', 60), calls)
            expect(answer["matched"] == 0, "the filter matched somebody")
        check_load(load.ask("idle seconds=0.01"), 0)
        return {"scan": window.cpu_ns / count / self.profile.large}

    def floor(self, stage):
        server, load = stage.floor(), stage.load()
        fill_floor(server, load, self.profile.large)
        count = max(3, self.profile.deliveries // self.profile.large)
        window, _ = deliver(stage, server, load, self.profile.large * count, lambda: server.ask(
            f"broadcast count={count} bytes=128", 60))
        return {"scan": window.cpu_ns / (self.profile.large * count)}


class Closing(Scenario):
    """Many clients are closed at once: until the last of them has its close frame."""

    name = "close"
    ways = {"list": "by account list", "filter": "by unindexed label", "group": "by group"}

    def make_rows(self):
        leavers, large = count_of(self.profile.leavers), count_of(self.profile.large)
        return [Row(f"close/{key}", f"closing {leavers} of {large} {text}", "time until all know", "ms",
                    "bare close frames", 1.5) for key, text in self.ways.items()]

    def await_closes(self, load, start):
        """Calls `start`, which returns when it began; returns the milliseconds."""
        leavers = self.profile.leavers
        load.ask("reset")
        load.tell(f"await closes={leavers} limit=30")
        began = start()
        answer = check_load(load.answer(), closed=leavers)
        expect(answer["codes"] == {"4001": leavers}, f"close codes: {answer['codes']}")
        return (answer["last_close_ns"] - began) / 1e6

    def command(self, way):
        if way == "list":
            calls = -(-self.profile.leavers // 4000)
            return f"close count={calls} flight={calls} namespace=raw accounts={self.profile.leavers}"
        by = 'labels.cohort = "leave"' if way == "filter" else 'groups:"cohort-leave"'
        return f"close count=1 namespace=raw filter={by}"

    def broker(self, stage):
        leavers = self.profile.leavers
        server, load = stage.daemon(), stage.load()
        call = stage.call(server)
        fill(stage, server, load, call, self.profile.large, leavers)
        results = {}
        for way in self.ways:
            def start():
                answer = check_calls(call.ask(self.command(way)))
                expect(answer["closed"] == leavers, f"{answer['closed']} of {leavers} were closed")
                return answer["start_ns"]
            results[f"close/{way}"] = self.await_closes(load, start)
            # Nothing fences them, so that the next way finds them again.
            if way != list(self.ways)[-1]:
                self.refill(stage, server, load, call)
        return results

    def refill(self, stage, server, load, call):
        stayed = self.profile.large - self.profile.leavers
        for first, size in chunks(self.profile.leavers):
            tickets = mint(stage, call, first, size, self.profile.leavers)
            check_open(connect(load, server, size, tickets), stayed + first + size)

    def floor(self, stage):
        server, load = stage.floor(), stage.load()
        fill_floor(server, load, self.profile.large)
        time = self.await_closes(load, lambda: server.ask(
            f"close count={self.profile.leavers} code=4001")["start_ns"])
        return {f"close/{way}": time for way in self.ways}
