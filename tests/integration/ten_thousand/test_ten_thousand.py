"""Ten thousand real connections at once, held by a process of their own."""

import json
import os
import subprocess
import time

import pytest

from harness.broker import identity
from harness.checks import notification
from socketbroker.v1 import connection_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

CLIENTS = os.environ.get("TEN_THOUSAND_CLIENTS", "build/release/bin/ten_thousand_clients")
COUNT = 10_000


class Clients:
    """The process that holds them: told by lines, answers with lines."""

    def __init__(self, port, tickets):
        self._process = subprocess.Popen([CLIENTS, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._process.stdin.write("".join(f"{ticket}\n" for ticket in tickets) + "\n")
        self._process.stdin.flush()

    def answer(self):
        line = self._process.stdout.readline()
        assert line, "the clients ended"
        return json.loads(line)

    def ask(self, command):
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self.answer()

    def end(self):
        self._process.stdin.close()
        assert self._process.wait(15) == 0


@pytest.fixture
def phase(capsys):
    """Says how long each part took."""
    start = time.monotonic()

    def say(text):
        nonlocal start
        now = time.monotonic()
        with capsys.disabled():
            print(f"{now - start:6.2f} s  {text}")
        start = now

    return say


def test_ten_thousand(start_broker, phase):
    broker = start_broker(config={"limits": {"max_connections": COUNT + 100}})
    epoch = broker.epoch
    tickets = []
    for number in range(COUNT):
        request = pb.CreateTicketRequest(
            identity=identity(f"account-{number}", labels={"half": "even" if number % 2 == 0 else "odd"}),
            verified_at_epoch=epoch)
        request.ttl.FromSeconds(60)
        tickets.append(broker.client.create_ticket(request).ticket)
    phase(f"{COUNT} tickets")

    clients = Clients(broker.websocket_port, tickets)
    assert clients.answer() == {"open": COUNT, "refused": 0}
    assert broker.count() == COUNT
    phase(f"{COUNT} clients connected")

    sent = broker.client.send(pb.SendRequest(message=notification("all", text="x" * 100)), timeout=30)
    assert (sent.matched, sent.queued, sent.dropped_slow) == (COUNT, COUNT, 0)
    assert clients.ask(f"messages {COUNT}") == {"messages": COUNT, "clients": COUNT}
    phase("a message to all, received by all")

    half = 'labels.half = "odd"'
    closed = broker.client.close_sockets_filtered(pb.CloseSocketsFilteredRequest(filter=half), timeout=30)
    assert closed.closed == COUNT // 2
    assert broker.count() == COUNT // 2 and broker.count(half) == 0
    assert clients.ask(f"closes {COUNT // 2}") == {"closes": COUNT // 2, "revoked": COUNT // 2, "open": COUNT // 2}
    phase("half of them closed by a filter, each with 4001")

    sent = broker.client.broadcast_filtered(
        pb.BroadcastFilteredRequest(filter='labels.half = "even"', message=notification("rest")), timeout=30)
    assert sent.queued == COUNT // 2
    assert clients.ask(f"messages {COUNT // 2}") == {"messages": COUNT // 2, "clients": COUNT // 2}
    phase("a broadcast to the other half")

    admitted = broker.list(states=[connection_pb2.CONNECTION_STATE_ADMITTED])
    assert sorted(c.identity.account_id for c in admitted) == sorted(f"account-{n}" for n in range(0, COUNT, 2))
    phase("all listed in pages")
    clients.end()
