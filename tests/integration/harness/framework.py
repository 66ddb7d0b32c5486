"""serve: runs services of the Python framework, for tests; and JSON-RPC as a client writes it."""

import concurrent.futures
import json
import queue
import threading

import pytest

from harness.broker import PATIENCE
from socketbroker import Client, Service


def request(socket, id, method, params=None, **more):
    notify(socket, method, params, id=id, **more)


def notify(socket, method, params=None, **more):
    call = {"jsonrpc": "2.0", "method": method, **more}
    if params is not None:
        call["params"] = params
    socket.send(json.dumps(call))


def result(id, value):
    return {"jsonrpc": "2.0", "id": id, "result": value}


def error(id, code, message, **more):
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, **more}}


class Running:
    """A service that runs in a thread of its own."""

    def __init__(self, service):
        self.service = service
        self._attached = queue.Queue()
        service.on_started(lambda: self._attached.put(True))
        self._end = concurrent.futures.Future()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        try:
            self._end.set_result(self.service.run())
        except BaseException as fault:
            self._end.set_exception(fault)

    def attached(self):
        """Waits until it is, once more."""
        assert self._attached.get(timeout=PATIENCE)

    def end(self):
        """What run() does: it returns, or raises."""
        return self._end.result(timeout=PATIENCE)


@pytest.fixture
def serve():
    """Runs services, which are drained with the test."""
    running = []
    clients = []

    def serve(broker, prepare, *, api_key=None, wait=True, **options):
        """`prepare` is told the service before it runs."""
        clients.append(Client(broker.control, api_key=api_key))
        service = Service(clients[-1], **options)
        prepare(service)
        running.append(Running(service))
        if wait:
            running[-1].attached()
        return running[-1]

    yield serve
    for each in running:
        each.service.drain()
        each.service.drain()
    for each in running:
        concurrent.futures.wait([each._end], timeout=PATIENCE)
    for client in clients:
        client.close()
