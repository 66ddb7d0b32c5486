"""How long a revocation takes, from the call to the answer that it is enforced and on disk."""

from suite.processes import expect
from suite.scenario import Row, Scenario, count_of
from suite.steps import check_calls, fill

FEW = 10


class Revoking(Scenario):
    """CloseSocketsForAccount with the journal on, each time for another client."""

    name = "revoke"

    @property
    def many(self):
        return min(1_000, self.profile.medium // 3)

    def make_rows(self):
        one = f"CloseSocketsForAccount, one client of {count_of(self.profile.medium)}"
        return [Row("revoke/p50", one, "time until answered, p50", "ms"),
                Row("revoke/p99", one, "the same, p99", "ms", goal=50, judged_by="value"),
                Row("revoke/max", one, "the same, max", "ms", goal=250, judged_by="value"),
                Row("revoke/many", f"CloseSocketsForAccount, {self.many} at once",
                    "time until all are answered", "ms", f"{FEW} at once"),
                Row("revoke/publish", f"the same as items of a Publish, {self.many} at once",
                    "time until all are answered", "ms", f"{FEW} at once", 10)]

    def start(self, stage):
        server, load = stage.daemon(state_dir=True), stage.load(busy=False)
        call = stage.call(server)
        fill(stage, server, load, call, self.profile.medium)
        return call

    def revoke(self, call, count, flight, first=0):
        answer = check_calls(call.ask(
            f"revoke count={count} flight={flight} from={first} namespace=raw"), count)
        expect(answer["closed"] == count, f"{answer['closed']} of {count} were closed")
        return answer

    def publish(self, call, count, first):
        """All of them at once, as items of one stream."""
        items = min(count, 50)
        requests = count // items
        answer = check_calls(call.ask(f"publish revoke=1 count={requests} items={items} flight={requests} "
                                      f"from={first} namespace=raw"), requests)
        expect(answer["closed"] == requests * items, f"{answer['closed']} of {requests * items} were closed")
        return (answer["end_ns"] - answer["start_ns"]) / 1e6

    def at_once(self, call, count, first):
        answer = self.revoke(call, count, count, first)
        return (answer["end_ns"] - answer["start_ns"]) / 1e6

    def broker(self, stage):
        call = self.start(stage)
        one = self.revoke(call, self.many, 1)
        return {**{f"revoke/{part}": one[f"{part}_ns"] / 1e6 for part in ("p50", "p99", "max")},
                "revoke/many": self.at_once(call, self.many, self.many),
                "revoke/publish": self.publish(call, self.many, 2 * self.many)}

    def floor(self, stage):
        call = self.start(stage)
        self.revoke(call, FEW, 1)
        return {"revoke/many": self.at_once(call, FEW, FEW),
                "revoke/publish": self.publish(call, FEW, 2 * FEW)}
