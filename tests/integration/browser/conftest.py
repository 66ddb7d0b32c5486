"""A web site and a headless Chromium that opens it."""

import contextlib
import http.server
import json
import pathlib
import queue
import threading

import pytest

from client_page import ClientPage
from harness.chromium import Chromium
from harness.relay import Relay

PAGE = pathlib.Path(__file__).with_name("page.html").read_bytes()
# A name that is not this machine's, for a page of a foreign origin.
FOREIGN = "--host-resolver-rules=MAP app.example 127.0.0.1"


class Site:
    """Serves pages with a plan, and collects what they report.

    `pages` has the content type and the bytes of each path, `actions` what is called with the body of a POST and
    returns a status and a text.
    """

    def __init__(self):
        self.plan = {}
        self.pages = {"/": ("text/html", PAGE)}
        self.actions = {"/report": self._keep}
        self._reports = queue.Queue()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/plan":
                    self._answer(200, "application/json", json.dumps(site.plan).encode())
                elif self.path in site.pages:
                    self._answer(200, *site.pages[self.path])
                else:
                    self._answer(404, "text/plain", b"")

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, text = site.actions[self.path](body)
                self._answer(status, "text/plain", text.encode())

            def _answer(self, status, kind, body):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the browser has ended
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _keep(self, body):
        self._reports.put(json.loads(body))
        return 200, ""

    def report(self, timeout=40):
        """The next event that the page reports."""
        return self._reports.get(timeout=timeout)

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def site():
    result = Site()
    yield result
    result.stop()


@pytest.fixture
def make_relay():
    relays = []

    def make(target):
        relays.append(Relay(target))
        return relays[-1]

    yield make
    for relay in relays:
        relay.stop()


@pytest.fixture
def client(site, browse, broker):
    """A page with the browser client, and tickets of the account a1."""
    return ClientPage(site, browse, lambda: broker.ticket("a1", session="s1"))


@pytest.fixture
def browse(tmp_path):
    """Opens a page in a browser of its own, which ends with the test."""
    browsers = []

    def open_page(url):
        browsers.append(Chromium(tmp_path / f"chromium{len(browsers)}", FOREIGN, url))

    yield open_page
    for browser in browsers:
        browser.stop()
