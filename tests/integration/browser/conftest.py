"""A web site and a headless Chromium that opens it."""

import http.server
import json
import pathlib
import queue
import shutil
import subprocess
import threading

import pytest


PAGE = pathlib.Path(__file__).with_name("page.html").read_bytes()
CHROMIUM = "chromium"
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # A name that is not this machine's, for a page of a foreign origin.
    "--host-resolver-rules=MAP app.example 127.0.0.1",
]


class Site:
    """Serves the page with its plan, and collects what it reports."""

    def __init__(self):
        self.plan = {}
        self._reports = queue.Queue()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/plan":
                    self._answer("application/json", json.dumps(site.plan).encode())
                else:
                    self._answer("text/html", PAGE)

            def do_POST(self):
                site._reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self._answer("text/plain", b"")

            def _answer(self, kind, body):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

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
def browse(tmp_path):
    """Opens a page in a browser of its own, which ends with the test."""
    assert shutil.which(CHROMIUM), "Chromium is not installed (Debian: chromium)"
    browsers = []

    def open_page(url):
        log = open(tmp_path / f"chromium{len(browsers)}.log", "wb")
        profile = tmp_path / f"profile{len(browsers)}"
        with log:
            browsers.append(subprocess.Popen(
                [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", url],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    yield open_page
    for browser in browsers:
        browser.terminate()
        try:
            browser.wait(10)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()
