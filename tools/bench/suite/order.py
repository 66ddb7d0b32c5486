"""Whether what several publishers send arrives in order, and all of it."""

from suite.processes import Child, expect
from suite.scenario import Row, Scenario, count_of
from suite.steps import check_calls, fill

CLIENTS = 100
PUBLISHERS = 4
ITEMS = 5  # of a request
FLIGHT = 8  # requests of a publisher


class Order(Scenario):
    """Four streams of Publish to the same clients, while services attach and are killed."""

    name = "order"
    once = True

    @property
    def requests(self):
        """Of each publisher."""
        return 500 if self.profile.has_goals else 20

    @property
    def messages(self):
        return CLIENTS * PUBLISHERS * ITEMS * self.requests

    def make_rows(self):
        return [Row("order", f"{count_of(self.messages)} messages of {PUBLISHERS} publishers to {CLIENTS} clients, "
                    "while services attach and leave", "lost, swapped or damaged", "messages", "", 0, "value")]

    def broker(self, stage):
        server, load = stage.daemon(), stage.load()
        fill(stage, server, load, stage.call(server), CLIENTS)
        publishers = [stage.call(server, f"publisher{i}") for i in range(PUBLISHERS)]
        load.ask("reset expect=all")
        load.tell(f"await messages={self.messages} limit=90")
        for i, publisher in enumerate(publishers):
            publisher.tell(f"publish limit=90 count={self.requests} items={ITEMS} bytes=128 namespace=raw "
                           f"flight={FLIGHT} sender={i}")
        services, answer = 0, None
        while (answer := load.poll_answer(0)) is None or services == 0:
            service = Child(stage, "bench_service", [stage.program("bench_service"), server.control, "raw"],
                            stage.bench.load_core)
            service.answer()
            stage.children.remove(service)  # it is meant to end
            service.stop()
            services += 1
        for publisher in publishers:
            check_calls(publisher.answer(90), self.requests)
        expect(answer["closes"] == 0, f"{answer['closes']} clients were closed")
        return {"order": answer["faults"] + self.messages - answer["messages"]}
