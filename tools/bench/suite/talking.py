"""What it costs when clients and services talk."""

from suite.measure import Window
from suite.processes import Child, expect
from suite.scenario import Row, Scenario, count_of
from suite.steps import check_calls, check_load, deliver, fill, fill_floor

FLIGHT = 64
BYTES = 128


class Talking(Scenario):
    """A client's request, to a service that is attached, and its reply; and a service's
    request to a client. The floor is the sum of what each cannot do without: for the
    one an item of an empty stream each way, a bare receive and a bare send; for the
    other an empty call instead of the stream. Of the latency, an empty call."""

    name = "talk"

    def make_rows(self):
        clients = f"of {count_of(self.profile.small)} clients"
        return [
            Row("talk/request", f"requests {clients} to a service, {FLIGHT} in flight", "CPU a round trip",
                "ns", "item each way + receive + send", 1.5),
            Row("talk/request p50", "the same, one in flight", "p50 of a round trip", "us",
                "empty call", 2.5),
            Row("talk/ask", f"RequestConnection {clients}, {FLIGHT} in flight", "CPU a round trip", "ns",
                "empty call + receive + send", 1.5),
            Row("talk/ask p50", "the same, one in flight", "p50 of a round trip", "us", "empty call", 2.5),
        ]

    def window(self, stage, server, count, work):
        work(max(1, count // 10))
        with Window(stage, server) as window:
            answer = work(count)
        return window.cpu_ns / count, answer

    def broker(self, stage):
        server, load = stage.daemon(), stage.load()
        call = stage.call(server)
        fill(stage, server, load, call, self.profile.small, path="/ws", namespace="default")
        service = Child(stage, "bench_service", [stage.program("bench_service"), server.control],
                        stage.bench.load_core)
        service.answer()
        calls, few = self.profile.calls, max(20, self.profile.calls // 20)

        def talk(count, flight=FLIGHT):
            load.ask("reset")
            answer = check_load(load.ask(f"talk count={count} flight={flight} bytes={BYTES}", 60), count)
            expect(answer["all"], "not all requests were replied to")
            return answer

        def ask(count, flight=FLIGHT):
            # The clients answer while they wait.
            load.ask("reset")
            load.tell(f"await messages={count} limit=60")
            answer = check_calls(call.ask(f"ask count={count} flight={flight} bytes={BYTES}", 60), count)
            check_load(load.answer(90), count)
            return answer

        request, _ = self.window(stage, server, calls, talk)
        asked, _ = self.window(stage, server, calls, ask)
        return {"talk/request": request, "talk/request p50": talk(few, 1)["p50_ns"] / 1e3,
                "talk/ask": asked, "talk/ask p50": ask(few, 1)["p50_ns"] / 1e3}

    def floor(self, stage):
        server, load = stage.floor("bench_empty_grpc"), stage.load()
        call = stage.call(server)
        fill_floor(server, load, self.profile.small)
        calls, few = self.profile.calls, max(20, self.profile.calls // 20)

        def items(count):
            # Each an item each way, and a bare send.
            _, answer = deliver(stage, server, load, count, lambda: check_calls(call.ask(
                f"publish count={count} items=1 bytes={BYTES} flight={FLIGHT} accounts=1", 60), count), "some")
            return answer

        def receive(count):
            load.ask("reset")
            return check_load(load.ask(f"send count={count} bytes={BYTES} rate=40000", 60))

        def send(count):
            _, answer = deliver(stage, server, load, count, lambda: check_calls(call.ask(
                f"account count={count} bytes={BYTES} flight=16 accounts=1", 60), count), "some")
            return answer

        stream, _ = self.window(stage, server, calls, items)
        received, _ = self.window(stage, server, calls, receive)
        unary, _ = self.window(stage, server, calls, send)
        p50 = check_calls(call.ask(f"info count={few} flight=1", 60), few)["p50_ns"] / 1e3
        return {"talk/request": stream + received, "talk/request p50": p50,
                "talk/ask": unary + received, "talk/ask p50": p50}
