"""Browser and Tab: a headless Chromium that tests drive as a user would, by its DevTools protocol."""

import itertools
import json
import re

from harness.broker import PATIENCE
from harness.chromium import Chromium
from harness.sockets import Socket

LISTENING = re.compile(r"DevTools listening on (ws://\S+)\n")


class Browser:
    """Its profiles share no cookies; the tabs of one do."""

    def __init__(self, folder):
        self._chromium = Chromium(folder, "--remote-debugging-port=0")
        output = self._chromium.output
        self._socket = Socket(output.wait(lambda: LISTENING.search(output.text()), "DevTools", PATIENCE)[1])
        self._ids = itertools.count(1)
        self._passed = []

    def call(self, method, session=None, **params):
        id = next(self._ids)
        self._socket.send(json.dumps({"id": id, "method": method, "params": params,
                                      **({"sessionId": session} if session else {})}))
        answer = self._next(lambda said: said.get("id") == id)
        assert "error" not in answer, answer
        return answer["result"]

    def wait_event(self, method, session):
        """The next, or one that came with the answer to the last call."""
        wanted = lambda said: said.get("method") == method and said["sessionId"] == session  # noqa: E731
        if not any(wanted(said) for said in self._passed):
            self._next(wanted)

    def _next(self, wanted):
        self._passed = []
        while True:
            said = self._socket.receive_json()
            if wanted(said):
                return said
            self._passed.append(said)

    def profile(self):
        return self.call("Target.createBrowserContext")["browserContextId"]

    def open(self, url, profile):
        target = self.call("Target.createTarget", url="about:blank", browserContextId=profile)["targetId"]
        return Tab(self, target, url)

    def stop(self):
        self._socket.abort()
        self._chromium.stop()


class Tab:
    def __init__(self, browser, target, url):
        self._browser, self._target = browser, target
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        browser.call("Page.enable", self._session)
        browser.call("Page.navigate", self._session, url=url)
        browser.wait_event("Page.loadEventFired", self._session)

    def evaluate(self, expression):
        """The value of a JavaScript expression; of a promise, once it is there."""
        answer = self._browser.call("Runtime.evaluate", self._session, expression=expression,
                                    awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, condition):
        """Until this is true of the document."""
        self.evaluate("""new Promise((resolve) => {
            const look = () => (%s) && resolve();
            new MutationObserver(look).observe(document,
                {subtree: true, childList: true, attributes: true, characterData: true});
            look();
        })""" % condition)

    def see(self, id, text):
        """Until the element shows this text, among other."""
        found = f"document.getElementById({json.dumps(id)})"
        self.wait(f"{found}.checkVisibility() && {found}.innerText.includes({json.dumps(text)})")

    def type(self, id, text):
        self.evaluate(f"document.getElementById({json.dumps(id)}).value = {json.dumps(text)}")

    def click(self, selector):
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def close(self):
        self._browser.call("Target.closeTarget", targetId=self._target)
