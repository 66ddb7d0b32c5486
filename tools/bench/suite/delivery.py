"""What it costs, and how long it takes, to bring messages to clients."""

from suite.measure import Window
from suite.processes import expect
from suite.scenario import Row, Scenario, count_of
from suite.steps import check_calls, deliver, fill, fill_floor

SIZES = {128: "128 B", 1024: "1 KiB"}
WARM_UP = 2  # messages to each client
BURST = 16
FLIGHT = 16
BATCH = 64


class Broadcast(Scenario):
    """BroadcastFiltered to all, one call after another, and a loop of bare sends."""

    def __init__(self, profile, connections):
        self.connections = connections
        self.name = f"broadcast/{count_of(connections)}"
        super().__init__(profile)

    def make_rows(self):
        return [Row(f"{self.name}/{size}", f"broadcast, {text} to {count_of(self.connections)}",
                    "CPU a delivery", "ns", "bare send", 1.05) for size, text in SIZES.items()]

    def measure(self, stage, server, load, send):
        results = {}
        for size in SIZES:
            count = max(3, self.profile.deliveries // self.connections)
            deliver(stage, server, load, self.connections * WARM_UP, lambda: send(WARM_UP, size))
            window, _ = deliver(stage, server, load, self.connections * count,
                                lambda: send(count, size))
            results[f"{self.name}/{size}"] = window.cpu_ns / (self.connections * count)
        return results

    def broker(self, stage):
        server, load = stage.daemon(), stage.load()
        call = stage.call(server)
        fill(stage, server, load, call, self.connections)
        return self.measure(stage, server, load, lambda count, size: check_calls(
            call.ask(f"broadcast count={count} bytes={size} namespace=raw", 60), count))

    def floor(self, stage):
        server, load = stage.floor(), stage.load()
        fill_floor(server, load, self.connections)
        return self.measure(stage, server, load, lambda count, size: server.ask(
            f"broadcast count={count} bytes={size}", 60))


class Burst(Scenario):
    """Messages that come together, and one send of all of them to each client."""

    def __init__(self, profile, connections):
        self.connections = connections
        self.name = f"burst/{count_of(connections)}"
        super().__init__(profile)

    def make_rows(self):
        text = f"bursts of {BURST} x 128 B to {count_of(self.connections)}"
        return [Row(f"{self.name}/publish", f"{text}, each a request of Publish", "CPU a delivery",
                    "ns", "one send a burst", 1.05),
                Row(f"{self.name}/calls", f"{text}, as {BURST} calls", "CPU a delivery", "ns",
                    "one send a burst")]

    def measure(self, stage, server, load, send):
        bursts = max(2, self.profile.deliveries // self.connections // 4)
        deliver(stage, server, load, self.connections * BURST, lambda: send(1))
        window, _ = deliver(stage, server, load, self.connections * BURST * bursts,
                            lambda: send(bursts))
        return window.cpu_ns / (self.connections * BURST * bursts)

    def broker(self, stage):
        server, load = stage.daemon(), stage.load()
        call = stage.call(server)
        fill(stage, server, load, call, self.connections)
        message = "bytes=128 namespace=raw"
        return {
            f"{self.name}/publish": self.measure(stage, server, load, lambda bursts: check_calls(
                call.ask(f"publish count={bursts} items={BURST} {message}", 60), bursts)),
            f"{self.name}/calls": self.measure(stage, server, load, lambda bursts: check_calls(
                call.ask(f"broadcast count={bursts * BURST} flight={BURST} bursts=1 {message}", 60),
                bursts * BURST)),
        }

    def floor(self, stage):
        server, load = stage.floor(), stage.load()
        fill_floor(server, load, self.connections)
        cost = self.measure(stage, server, load, lambda bursts: server.ask(
            f"broadcast count={bursts * BURST} bytes=128 burst={BURST}", 60))
        return {row.key: cost for row in self.rows}


class Large(Scenario):
    """Messages that come in fragments, and that no socket takes at once."""

    name = "large"
    size = 100_000

    def make_rows(self):
        return [Row("large", f"broadcast, 100 kB to {count_of(self.connections)}", "CPU a delivery", "ns",
                    "bare send")]

    @property
    def connections(self):
        return self.profile.small // 5

    def measure(self, stage, server, load, send):
        count = max(3, self.profile.deliveries // 100 // self.connections)
        window, answer = deliver(stage, server, load, self.connections * count, lambda: send(count))
        expect(answer["bytes"] == self.size * self.connections * count, "messages have another length")
        return {"large": window.cpu_ns / (self.connections * count)}

    def broker(self, stage):
        server, load = stage.daemon(), stage.load()
        call = stage.call(server)
        fill(stage, server, load, call, self.connections)
        return self.measure(stage, server, load, lambda count: check_calls(call.ask(
            f"broadcast count={count} bytes={self.size} namespace=raw", 60), count))

    def floor(self, stage):
        server, load = stage.floor(), stage.load()
        fill_floor(server, load, self.connections)
        return self.measure(stage, server, load, lambda count: server.ask(
            f"broadcast count={count} bytes={self.size}", 60))


class ByCalls(Scenario):
    """Calls that each bring messages to some clients, and the same with nothing but sends in
    them. A kind says in `send` what it calls."""

    def measure(self, stage, server, load, call):
        calls = max(2, self.profile.calls // self.step)
        for messages in (max(1, calls // 10) * self.step, calls * self.step):
            window, _ = deliver(stage, server, load, messages, lambda: self.send(call, messages), "some")
        # Of the second time: the first was to warm up.
        return {self.name: window.cpu_ns / messages}

    def broker(self, stage):
        server, load = stage.daemon(), stage.load()
        call = stage.call(server)
        fill(stage, server, load, call, self.profile.large)
        return self.measure(stage, server, load, call)

    def floor(self, stage):
        server, load = stage.floor("bench_empty_grpc"), stage.load()
        fill_floor(server, load, self.profile.large)
        return self.measure(stage, server, load, stage.call(server))


class ToAccounts(ByCalls):
    """SendToAccount at random accounts."""

    name = "account"
    step = 1  # messages of a call

    def make_rows(self):
        return [Row("account", f"SendToAccount, random of {count_of(self.profile.large)}, {FLIGHT} in "
                    "flight", "CPU a call", "ns", "empty handler + bare send", 1.3)]

    def send(self, call, messages):
        check_calls(call.ask(f"account count={messages} bytes=128 namespace=raw flight={FLIGHT} "
                             f"accounts={self.profile.large}", 60), messages)


class Publish(ByCalls):
    """SendToAccount as items of a stream."""

    name = "publish"
    step = BATCH

    def make_rows(self):
        return [Row("publish", f"Publish, {BATCH} at random accounts of "
                    f"{count_of(self.profile.large)} a request", "CPU a delivery", "ns",
                    "empty item + bare send", 1.2)]

    def send(self, call, messages):
        requests = messages // BATCH
        check_calls(call.ask(f"publish count={requests} items={BATCH} bytes=128 namespace=raw "
                             f"flight=4 accounts={self.profile.large}", 60), requests)


class Latency(Scenario):
    """Broadcasts at half of what the floor could do: from the call to the client."""

    name = "latency"

    def make_rows(self):
        text = f"paced broadcast, 128 B to {count_of(self.profile.medium)}, at half of the most"
        return [Row("latency/p99", text, "p99 until a client has it", "ms", "bare send", 1.15),
                Row("latency/p50", text, "p50 until a client has it", "ms", "bare send")]

    def prepare(self, bench):
        with bench.stage() as stage:
            server, load = stage.floor(), stage.load()
            fill_floor(server, load, self.profile.medium)
            count = max(3, self.profile.deliveries // self.profile.medium)
            with Window(stage, server) as window:
                server.ask(f"broadcast count={count} bytes=128")
        # CPU time: it is what the server would have to itself on its core.
        self.rate = 0.5 * count * 1e9 / window.cpu_ns

    def measure(self, stage, server, load, send):
        count = max(5, int(self.rate * self.profile.seconds))
        deliver(stage, server, load, self.profile.medium * WARM_UP, lambda: send(WARM_UP))
        _, answer = deliver(stage, server, load, self.profile.medium * count, lambda: send(count))
        return {"latency/p99": answer["p99_ns"] / 1e6, "latency/p50": answer["p50_ns"] / 1e6}

    def broker(self, stage):
        server, load = stage.daemon(), stage.load()
        call = stage.call(server)
        fill(stage, server, load, call, self.profile.medium)
        return self.measure(stage, server, load, lambda count: check_calls(call.ask(
            f"broadcast count={count} bytes=128 namespace=raw rate={self.rate:.3f} flight=1", 60),
            count))

    def floor(self, stage):
        server, load = stage.floor(), stage.load()
        fill_floor(server, load, self.profile.medium)
        return self.measure(stage, server, load, lambda count: server.ask(
            f"broadcast count={count} bytes=128 rate={self.rate:.3f}", 60))
