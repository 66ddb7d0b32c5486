"""How the broker holds out: at its limits, and with clients that behave badly."""

import time

from suite.measure import Window
from suite.processes import PATIENCE, expect
from suite.scenario import Row, Scenario, count_of
from suite.steps import check_calls, check_load, check_open, connect, fill, mint

MIB = 1024 * 1024


class AtLimit(Scenario):
    """As many clients as it takes, and more of them knock: half of the time at
    max_connections, half of it without a descriptor left. GetBrokerInfo is called all
    the time; what that costs without knocks is not counted."""

    name = "limit"
    once = True
    spare = 10  # clients that leave in the end, for others to come

    def make_rows(self):
        at, knocks = count_of(self.profile.medium), self.profile.knocks
        rows = []
        for key, text in (("full", f"{at} clients, the limit"), ("starved", "no descriptor left")):
            where = f"{text}, {knocks} knocks a second"
            rows += [Row(f"limit/{key}/cpu", where, "CPU of the knocks", "% of a core", "", 2.0, "value"),
                     Row(f"limit/{key}/info", where, "p99 of GetBrokerInfo", "ms", "", 20.0, "value"),
                     Row(f"limit/{key}/log", where, "log lines", "a second", "", 10.0, "value")]
        return rows + [Row("limit/recovery", "there is room again", "time until one is let in", "ms", "",
                           1000.0, "value")]

    def broker(self, stage):
        at = self.profile.medium
        server = stage.daemon(limits={"max_connections": at})
        load, spare = stage.load(busy=False), stage.load(busy=False, name="bench_load_spare")
        call = stage.call(server)
        fill(stage, server, load, call, at - self.spare)
        tickets = mint(stage, call, at, self.spare)
        check_open(connect(spare, server, self.spare, tickets), self.spare)

        calls = self.hold(stage, server, call)["cpu"]
        results, outcomes = self.knock(stage, server, load, call, "limit/full", calls)
        expect(outcomes.get("503", 0) > 0, f"nobody was answered 503: {outcomes}")
        before = server.limit_descriptors(server.lowest_free_descriptor())
        starved, outcomes = self.knock(stage, server, load, call, "limit/starved", calls)
        expect(server.events("accept_failed"), "the log says nothing of a lack of descriptors")
        expect(set(outcomes) <= {"closed"}, f"somebody was answered without a descriptor: {outcomes}")
        server.limit_descriptors(before)
        spare.ask("drop")
        return {**results, **starved, "limit/recovery": self.await_entry(stage, server, spare, call)}

    @property
    def seconds(self):
        return self.profile.seconds * 1.5

    def hold(self, stage, server, call):
        """What it takes for a while, with GetBrokerInfo 50 times a second."""
        lines = len(server.log().splitlines())
        with Window(stage, server) as window:
            info = check_calls(call.ask(f"info count={int(self.seconds * 50)} rate=50"))
        lines = len(server.log().splitlines()) - lines
        return {"cpu": 100 * window.cpu_ns / window.wall_ns, "info": info["p99_ns"] / 1e6,
                "log": lines / self.seconds}

    def knock(self, stage, server, load, call, key, calls):
        """The same, with clients that knock."""
        load.ask("reset")
        load.tell(f"knock port={server.port} path=/raw rate={self.profile.knocks} seconds={self.seconds}")
        held = self.hold(stage, server, call)
        answer = check_load(load.answer())
        held["cpu"] = max(0, held["cpu"] - calls)
        return {f"{key}/{name}": value for name, value in held.items()}, answer["outcomes"]

    def await_entry(self, stage, server, spare, call):
        began = time.monotonic()
        while True:
            tickets = mint(stage, call, self.profile.medium, 1)
            if connect(spare, server, 1, tickets)["open"] == 1:
                return (time.monotonic() - began) * 1000
            expect(time.monotonic() - began < PATIENCE, "nobody is let in any more")
            time.sleep(0.005)


class Stalled(Scenario):
    """One client in ten stops reading while broadcasts go on."""

    name = "stalled"
    once = True
    rate = 100
    outbox = 256 * 1024

    def make_rows(self):
        all_of = self.profile.stalled_of
        who = f"{count_of(all_of // 10)} of {count_of(all_of)} stop reading, {self.rate} x 1 KiB a second"
        return [Row("stalled/done", who, "broadcasts done", "a second", "", None, "value"),
                Row("stalled/memory", who, "growth, of limit x stalled", "%", "", 100.0, "value"),
                Row("stalled/p99", who, "p99 of the others, to that before", "times", "", 1.5, "value"),
                Row("stalled/open", who, "not closed with 4008", "clients", "", 0.0, "value"),
                Row("stalled/left", who, "memory not given back", "MiB", "", None, "value")]

    def broker(self, stage):
        all_of, stalled = self.profile.stalled_of, self.profile.stalled_of // 10
        server = stage.daemon(raw={"max_message_bytes": self.outbox // 4, "max_outbox_bytes": self.outbox})
        load, call = stage.load(), stage.call(server)
        fill(stage, server, load, call, all_of - stalled)
        tickets = mint(stage, call, all_of - stalled, stalled)
        # Small buffers, so that it is the broker that has to keep what they do not read.
        check_open(connect(load, server, stalled, tickets, options="receive_buffer=4096"), all_of)
        self.broadcast(server, call, 3)

        # Enough for every outbox to run over, and for some time behind that.
        seconds = max(self.profile.seconds, 5)
        load.ask("reset")
        self.broadcast(server, call, int(self.rate * seconds), 3 * seconds)
        p99 = check_load(load.ask("idle seconds=0.01"))["p99_ns"]
        load.ask("reset")
        load.ask(f"stall count={stalled}")
        before = server.rss()
        answer, peak = self.broadcast(server, call, int(self.rate * seconds), 3 * seconds)
        # Before those who read nothing read on, and count what is late through them.
        healthy = check_load(load.ask("idle seconds=0.01"), closed=None)
        load.ask(f"resume count={stalled}")
        ended = load.ask(f"await closes={stalled}", 5)
        expect(ended["open"] >= all_of - stalled, "clients were closed that had read everything")
        deadline = time.monotonic() + 5
        while server.closes(4008) < stalled and time.monotonic() < deadline:
            time.sleep(0.05)
        done = answer["done"] * 1e9 / (answer["end_ns"] - answer["start_ns"])
        return {"stalled/done": done, "stalled/memory": 100 * (peak - before) / (self.outbox * stalled),
                "stalled/p99": healthy["p99_ns"] / p99, "stalled/open": stalled - server.closes(4008),
                "stalled/left": max(0, server.rss() - before) / MIB}

    def broadcast(self, server, call, count, limit=60):
        """Also returns the most memory that the server had meanwhile."""
        call.tell(f"broadcast limit={limit:.0f} count={count} bytes=1024 namespace=raw rate={self.rate} "
                  "flight=1")
        peak, deadline = server.rss(), time.monotonic() + limit + PATIENCE
        while (answer := call.poll_answer(0.05)) is None:
            peak = max(peak, server.rss())
            expect(time.monotonic() < deadline, "the broadcasts did not end")
        return check_calls(answer), peak


class Flood(Scenario):
    """One client sends pings as fast as it can, and reads nothing."""

    name = "flood"
    once = True

    def make_rows(self):
        who = "one client floods pings, reads nothing"
        return [Row("flood/memory", who, "growth", "MiB", "", 1.0, "value"),
                Row("flood/open", who, "not closed with 1008", "clients", "", 0.0, "value"),
                Row("flood/sent", who, "pings until cut off", "pings", "", None, "value")]

    def broker(self, stage):
        server, load = stage.daemon(), stage.load(busy=False)
        call = stage.call(server)
        fill(stage, server, load, call, 10)
        before = peak = server.rss()
        load.tell(f"flood seconds={max(3, self.profile.seconds / 2)}")
        while (answer := load.poll_answer(0.02)) is None:
            peak = max(peak, server.rss())
        load.ask("idle seconds=0.1")
        return {"flood/memory": (peak - before) / MIB, "flood/open": 1 - server.closes(1008),
                "flood/sent": answer["sent"]}
