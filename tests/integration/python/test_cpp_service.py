"""The C++ service framework: its example on the real daemon."""

import json
import os
import subprocess
import threading

import pytest

from harness.broker import PATIENCE
from harness.checks import notification
from harness.output import Output
from socketbroker.v1 import socket_broker_pb2 as pb


class Example:
    def __init__(self, target):
        self.process = subprocess.Popen([os.environ["SERVICE_EXAMPLE"], target], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.errors = Output(self.process.stderr)
        self.await_attached()

    def await_attached(self):
        assert self.process.stdout.readline() == b"attached\n"

    def drain(self):
        self.process.stdin.close()
        return self.process.wait(PATIENCE)

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture
def example():
    started = []

    def start(broker):
        started.append(Example(broker.control))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def call(socket, id, method, params=None):
    request = {"jsonrpc": "2.0", "id": id, "method": method}
    if params is not None:
        request["params"] = params
    socket.send(json.dumps(request))


def test_requests_notifications_and_errors(broker, example):
    service = example(broker)
    socket = broker.join("ann")
    call(socket, 1, "greet")
    assert socket.receive_json() == {"jsonrpc": "2.0", "method": "greeting", "params": ["hello ann"]}
    assert socket.receive_json() == {"jsonrpc": "2.0", "id": 1, "result": "ann"}
    call(socket, 2, "sum", [1, 2, 3])
    assert socket.receive_json()["result"] == 6
    call(socket, 3, "sum", ["one"])
    assert socket.receive_json()["error"] == {"code": -32602, "message": "sum takes integers"}
    # It throws: there are no params to parse.
    call(socket, 4, "sum")
    assert socket.receive_json()["error"] == {"code": -32603, "message": "Internal error"}
    service.errors.wait(lambda: "a handler threw" in service.errors.text(), "word about it", PATIENCE)
    call(socket, 5, "other")
    assert socket.receive_json()["error"]["code"] == -32601


def test_more_than_its_credit(broker, example):
    example(broker)
    socket = broker.join("ann")
    for round in range(5):
        for id in range(60):
            call(socket, id, "sum", [id, round])
        replies = {}
        while len(replies) < 60:
            reply = socket.receive_json()
            replies[reply["id"]] = reply["result"]
        assert replies == {id: id + round for id in range(60)}


def test_it_drains(broker, example):
    service = example(broker)
    socket = broker.join("ann")
    call(socket, 1, "sum", [1])
    socket.receive_json()
    assert service.drain() == 0
    call(socket, 2, "sum", [1])
    assert socket.receive_json()["error"]["code"] == -32601


def test_it_attaches_again(start_broker, example):
    first = start_broker()
    port = first.control.rpartition(":")[2]
    service = example(first)
    first.kill()
    second = start_broker("--control-port", port)
    service.await_attached()
    socket = second.join("ann")
    call(socket, 1, "sum", [4, 5])
    assert socket.receive_json()["result"] == 9
    assert service.errors.text()  # that the stream ended


def test_one_of_two_is_killed_under_load(broker, example):
    """Every request is answered once, by the other or with a documented error."""
    doomed, _ = example(broker), example(broker)
    sockets = [broker.join(f"a{n}") for n in range(4)]
    answers = [{} for _ in sockets]

    def talk(n):
        for id in range(300):
            call(sockets[n], id, "sum", [id])
            if id % 20 == 19:
                while len(answers[n]) <= id:
                    reply = sockets[n].receive_json()
                    assert reply["id"] not in answers[n]
                    answers[n][reply["id"]] = reply.get("result", reply.get("error"))
            if n == 0 and id == 150:
                doomed.kill()

    threads = [threading.Thread(target=talk, args=(n,)) for n in range(len(sockets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for own in answers:
        assert set(own) == set(range(300))
        for id, outcome in own.items():
            assert outcome == id or outcome["code"] in (-32000, -32001), outcome
    # None comes twice.
    for socket in sockets:
        broker.client.send_to_connection(pb.SendToConnectionRequest(
            connection_id=socket.id, message=notification("end")))
        assert socket.receive_json()["method"] == "end"
