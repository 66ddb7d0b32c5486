"""What it costs that a service proves itself, and is held to a filter."""

import hashlib

from suite import delivery
from suite.scenario import Row
from suite.steps import fill

KEY = "sbk_of-the-benchmark"
# It matches every client of the benchmark, and each has to be asked.
CALLER = {"name": "bench", "key_hash": hashlib.sha256(KEY.encode()).hexdigest(),
          "roles": ["BIND", "SEND", "READ"], "namespaces": ["raw"], "filter": "labels.region:*"}


class Callers:
    """A kind of calls with a key and a mandatory filter, against the same without any."""

    def broker(self, stage):
        return self.run(stage, [CALLER], KEY)

    def floor(self, stage):
        return self.run(stage, None, None)

    def run(self, stage, callers, key):
        server, load = stage.daemon(callers=callers), stage.load()
        call = stage.call(server, key=key)
        fill(stage, server, load, call, self.profile.large)
        return self.measure(stage, server, load, call)

    def make_rows(self):
        (row,) = super().make_rows()
        return [Row(self.name, row.title + ", by a caller with a key and a filter", row.measured, row.unit,
                    "without callers", 1.15)]


class AccountsByCaller(Callers, delivery.ToAccounts):
    name = "account-caller"


class PublishByCaller(Callers, delivery.Publish):
    name = "publish-caller"
