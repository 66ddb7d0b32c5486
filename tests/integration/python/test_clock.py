"""The time of day jumps, and the process stands still: nothing comes to life again."""

import os
import pathlib
import signal
import struct
import time

import pytest

from harness.broker import identity, wait_until
from harness.checks import fails, refused
from harness.revoke import close_account
from socketbroker import BrokerError
from socketbroker.v1 import socket_broker_pb2 as pb

SHIM = os.environ.get("SKEWED_CLOCK", "build/release/tests/integration/libskewed_clock.so")
HOUR = 3600


@pytest.fixture
def clock(tmp_path):
    """Shifts the time of day that the broker sees."""

    class Clock:
        file = tmp_path / "skew"

        @property
        def command(self):
            return ["env", f"LD_PRELOAD={pathlib.Path(SHIM).resolve()}", f"SKEWED_CLOCK_FILE={self.file}"]

        def shift(self, seconds):
            with open(self.file, "r+b") as file:
                file.write(struct.pack("=q", seconds))

    Clock.file.write_bytes(struct.pack("=q", 0))
    return Clock()


def day_of_broker(broker):
    """When the newest connection came, as the broker's clock says."""
    number = "now=1"
    socket = broker.connect(query=number)
    try:
        return broker.find(number).connect_time.ToSeconds()
    finally:
        socket.abort()
        broker.wait_connections(lambda: all(c.query != number for c in broker.list()), "it to be gone")


# D7
@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_the_clock_jumps(start_broker, clock, tmp_path, jump):
    arguments = ("--state-dir", str(tmp_path / "state"))
    broker = start_broker(*arguments, under=clock.command)
    used, revoked, good = broker.ticket("a1"), broker.ticket("a2"), broker.ticket("a3")
    brief = broker.ticket("a4", ttl=0.3)
    stays = broker.connect(used)
    before = broker.epoch
    close_account(broker, "a2")
    clock.shift(jump)
    assert abs(day_of_broker(broker) - (time.time() + jump)) < 60, "the broker sees the jump"
    broker.pass_time(0.4)
    for ticket in (used, revoked, brief):
        with refused(401):
            broker.connect(ticket)
    assert broker.connect(good).is_open(), "a ticket's life is no matter of the time of day"
    assert stays.is_open()
    # Epochs grow whatever the clock says, over a restart too.
    close_account(broker, "a6")
    assert broker.epoch > before
    late = broker.epoch
    broker.kill()
    again = start_broker(*arguments, under=clock.command)
    assert again.epoch >= late
    with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
        again.ticket("a2", epoch=before)


def test_a_broker_that_stood_still_revives_no_ticket(broker):
    honest = broker.join("a3")
    good = broker.ticket("a2", ttl=60)
    brief = broker.ticket("a1", ttl=0.5)
    broker.signal(signal.SIGSTOP)
    with fails("DEADLINE_EXCEEDED"):  # it does not answer
        broker.client.count_connections(pb.CountConnectionsRequest(), timeout=0.6)
    broker.signal(signal.SIGCONT)
    with refused(401):
        broker.connect(brief)
    assert broker.connect(good).is_open() and honest.is_open()


def test_a_stub_goes_on_with_a_broker_whose_epochs_are_lower(start_broker, clock, tmp_path):
    # Without a journal epochs start at the time of day: as after a clock was
    # set back, or when an address is given back to a broker that ran before.
    address = (f"--set=control.unix_socket={tmp_path / 'control.sock'}", "--set=control.tcp=false")
    before = start_broker(*address, under=clock.command)
    stub = before.client
    high = stub.get_broker_info(pb.GetBrokerInfoRequest()).epoch
    before.kill()
    clock.shift(-HOUR)
    broker = start_broker(*address, under=clock.command)

    def answers():  # without an epoch
        try:
            return stub.count_connections(pb.CountConnectionsRequest())
        except BrokerError:  # it has not seen that its connection is gone
            return None

    wait_until(answers, "the stub to have another connection")
    with fails("INVALID_ARGUMENT", "EPOCH_AHEAD", field="verified_at_epoch"):
        broker.ticket("a1", epoch=high)
    looks = []

    def verify():
        looks.append(stub.newest_epoch)
        return identity("a1")

    ticket = stub.create_ticket_verified(pb.CreateTicketRequest(), verify).ticket
    assert looks[0] == high > looks[1] == broker.epoch
    assert broker.connect(ticket).is_open()
