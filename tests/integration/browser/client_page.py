"""ClientPage: a page with the browser client, driven by the test."""

import itertools
import json
import pathlib
import queue
import threading

from harness.broker import PATIENCE

STUB = pathlib.Path(__file__).parents[3] / "client_stubs" / "browser"
PAGE = pathlib.Path(__file__).with_name("client.html")


class Run:
    """Code that runs in the page."""

    def __init__(self):
        self._done = threading.Event()
        self._outcome = None

    def finish(self, outcome):
        self._outcome = outcome
        self._done.set()

    def wait(self):
        assert self._done.wait(PATIENCE), "the page's code does not end"
        return self._outcome

    def value(self):
        outcome = self.wait()
        assert "error" not in outcome, outcome["error"]
        return outcome.get("value")

    def error(self):
        """The fields of the error that it ended with."""
        outcome = self.wait()
        assert "error" in outcome, outcome
        return outcome["error"]


class ClientPage:
    """Opens with the first `open`. `give_ticket()` is called for each ticket; it returns one, or None for a 401."""

    def __init__(self, site, browse, give_ticket):
        self.tickets = 0
        self.give_ticket = give_ticket
        self._browse = browse
        self._site = site
        self._numbers = itertools.count()
        self._code = queue.Queue()
        self._runs = {}
        self._events = queue.Queue()
        site.pages["/client"] = ("text/html", PAGE.read_bytes())
        site.pages["/socketbroker.js"] = ("text/javascript", (STUB / "socketbroker.js").read_bytes())
        site.actions.update({"/ticket": self._ticket, "/code": self._next_code, "/report": self._report})

    def open(self, address, **options):
        """With these options of Connection."""
        self._site.plan = {"url": f"ws://{address}/ws", **options}
        self._browse(f"http://127.0.0.1:{self._site.port}/client")
        return self

    def start(self, code):
        """Runs the body of an async function that sees `connection`, `report` and what the module exports."""
        run = Run()
        number = next(self._numbers)
        self._runs[number] = run
        self._code.put({"number": number, "code": code})
        return run

    def run(self, code):
        return self.start(code).value()

    def event(self, name=None, timeout=40):
        """The next event, which must be the one of that name."""
        event = self._events.get(timeout=timeout)
        assert name is None or event["event"] == name, event
        return event

    def until(self, name):
        """The next event of that name, whatever comes before."""
        while True:
            event = self.event()
            if event["event"] == name:
                return event

    def quiet(self):
        """Whether the page has reported nothing more."""
        self.run("")  # behind what it has reported so far
        return self._events.empty()

    def _ticket(self, _):
        self.tickets += 1
        ticket = self.give_ticket()
        return (401, "nobody is logged in") if ticket is None else (200, ticket)

    def _next_code(self, _):
        try:
            return 200, json.dumps(self._code.get(timeout=5))
        except queue.Empty:
            return 200, "null"

    def _report(self, body):
        event = json.loads(body)
        if "done" in event:
            self._runs.pop(event["done"]).finish(event)
        else:
            self._events.put(event)
        return 200, ""
