"""Floods: clients that want all there is. The gRPC API answers all the while, or comes back by itself;
afterwards everything is as before."""

import contextlib
import os
import queue
import resource
import signal
import socket
import threading

import pytest

from harness import raw
from harness.broker import PATIENCE, wait_until
from harness.checks import refused
from socketbroker import BrokerError
from socketbroker.v1 import message_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

MIB = 1 << 20
# What a run may leave behind: pages of the allocator, nothing that grows.
SLACK = 48 * MIB


def dial_from(address, port):
    """A connected socket, or none: the broker may have cut it off."""
    connection = socket.socket()
    connection.settimeout(raw.TIMEOUT)
    try:
        connection.bind((address, 0))
        connection.connect(("127.0.0.1", port))
        return connection
    except OSError:
        connection.close()
        return None


@contextlib.contextmanager
def control_is_asked(broker):
    """While it lasts, a thread calls the gRPC API again and again; no call may fail."""
    done, outcomes = threading.Event(), queue.SimpleQueue()

    def ask():
        while not done.is_set():
            try:
                broker.count()
                outcomes.put(None)
            except BrokerError as error:
                outcomes.put(error)
                return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
        for _ in range(outcomes.qsize() + 3):
            assert outcomes.get(timeout=PATIENCE) is None
    finally:
        done.set()
        thread.join()


def memory(broker):
    return broker.client.get_broker_info(pb.GetBrokerInfoRequest()).memory


@pytest.fixture
def settled():
    """Takes note of descriptors and memory; called again, wants them back."""
    before = {}

    def note(broker):
        broker.join("warm-up").close()
        broker.wait_connections(lambda: broker.list() == [], "the first client to be gone")
        wait_until(lambda: memory(broker).resident_bytes, "the first look at memory")
        before.update(descriptors=broker.descriptors(), resident=memory(broker).resident_bytes)

    def check(broker):
        wait_until(lambda: broker.descriptors() <= before["descriptors"], "its descriptors to be closed")
        if "asan" not in os.environ["BROKER_BINARY"]:
            wait_until(lambda: memory(broker).resident_bytes <= before["resident"] + SLACK, "its memory to be free")
        assert broker.join("honest").is_open()

    return note, check


# F1, with descriptors for little more than the sockets.
def test_sockets_to_the_cap(start_broker, settled):
    broker = start_broker(under=["prlimit", "--nofile=900:900"])
    note, check = settled
    note(broker)
    most = broker.client.get_broker_info(pb.GetBrokerInfoRequest()).limits.max_connections
    assert most == 900 - 512
    lines = len(broker.log().splitlines())
    with control_is_asked(broker), contextlib.ExitStack() as stack:
        connections = []
        for number in range(1500):
            connection = dial_from(f"127.0.1.{number % 250 + 1}", broker.websocket_port)
            if connection is not None:
                connections.append(stack.enter_context(connection))
        wait_until(lambda: broker.metric("sockets") >= most, "the cap to be reached")
        answers = set()
        for connection in connections[:50]:
            with contextlib.suppress(OSError, EOFError):
                connection.sendall(raw.request())
                answers.add(raw.Reader(connection).response().status)
        assert answers <= {101, 503} and answers
        assert broker.http("/readyz")[0] == 200
    check(broker)
    assert len(broker.log().splitlines()) - lines < 30


def test_slow_handshakes(start_broker, settled):
    broker = start_broker(config={"limits": {"handshake_timeout": "2s", "max_connections": 600}})
    note, check = settled
    note(broker)
    honest = broker.join("a1")
    with control_is_asked(broker), contextlib.ExitStack() as stack:
        connections = [stack.enter_context(dial_from("127.0.0.1", broker.websocket_port)) for _ in range(500)]
        head = raw.request()
        for position in range(8):
            for number, connection in enumerate(connections):
                with contextlib.suppress(OSError):
                    connection.sendall(head[position:position + 1] if number % 3 else b"")
            assert honest.is_open()
        wait_until(lambda: broker.metric("handshake_timeouts_total") >= 500, "all of them to be cut off")
    honest.close()
    check(broker)


def test_garbage(start_broker, settled):
    broker = start_broker()
    note, check = settled
    note(broker)
    stop = threading.Event()

    def throw(seed):
        data = os.urandom(64 * 1024)
        for number in range(300):
            if stop.is_set():
                return
            connection = dial_from("127.0.0.1", broker.websocket_port)
            if connection is None:
                continue
            with connection, contextlib.suppress(OSError):
                if number % 2:
                    connection.sendall(raw.request())
                connection.sendall(data[number * 100:number * 100 + 5000])
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

    threads = [threading.Thread(target=throw, args=(seed,)) for seed in range(4)]
    with control_is_asked(broker):
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join(60)
        finally:
            stop.set()
    check(broker)


# F2: one accept without a descriptor, and gRPC's listener is dead for good.
def test_the_grpc_listener_comes_back(start_broker, settled):
    broker = start_broker()
    note, check = settled
    note(broker)
    client = broker.join("a1")
    port = int(broker.control.rpartition(":")[2])
    limits = resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, (broker.descriptors() + 8, limits[1]))
    with contextlib.ExitStack() as stack:
        for _ in range(64):
            connection = dial_from("127.0.0.1", port)
            if connection is not None:
                stack.enter_context(connection)
        # The broker holds what it may; the next accept has failed.
        full = broker.descriptors
        soft = resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE)[0]
        wait_until(lambda: full() >= soft - 1, "the descriptors to be used up")
    resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, limits)
    broker.wait_for_log("control_restarted")
    assert client.is_open(), "sockets do not notice"
    wait_until(lambda: answers(broker), "the gRPC API to be back")
    assert broker.count('account_id = "a1"') == 1
    assert broker.client.get_broker_info(pb.GetBrokerInfoRequest()).ready
    assert broker.metric("control_restarts_total") == 1
    client.close()
    check(broker)


def answers(broker):
    try:
        broker.count()
        return True
    except BrokerError:
        return False


# F3, with a ceiling that is configured.
def test_short_of_memory_the_slowest_go_first(start_broker, frees_memory):
    endpoint = {"path": "/ws", "framing": "RAW", "ways": ["TICKET"],
                "max_outbox_bytes": 1 << 30, "soft_outbox_bytes": 1 << 30}
    broker = start_broker(config={"endpoints": [endpoint]})
    slow = [broker.raw_socket(broker.ticket(f"slow{n}"), receive_buffer=4096) for n in range(40)]
    keeps_up = broker.join("keeps-up")
    wait_until(lambda: memory(broker).resident_bytes, "the first look at memory")
    ceiling = memory(broker).resident_bytes + 128 * MIB
    broker.write_config({"endpoints": [endpoint], "limits": {"max_memory_bytes": ceiling}})
    broker.signal(signal.SIGHUP)
    broker.wait_for_log("reloaded")
    message = message_pb2.Message(binary=bytes(MIB - 1024))
    rounds = 0
    while broker.metric("connections_shed_total") == 0:
        rounds += 1
        assert rounds < 12, "nobody was shed"
        for number in range(len(slow)):
            broker.client.send_to_account(pb.SendToAccountRequest(account_id=f"slow{number}", message=message))
            if broker.metric("connections_shed_total"):
                break
    assert memory(broker).limit_bytes == ceiling
    broker.wait_log(
        lambda: any(e["resident_bytes"] > ceiling * 0.8 for e in broker.events("memory_level")), "the level to be told")
    broker.wait_connections(lambda: broker.metric("closes_total", code="1013") > 0, "the close to be counted")
    ticket = broker.ticket("late")
    # What was shed ends the worst; handshakes are refused until there is a margin.
    with refused(503):
        broker.connect(ticket)
    assert keeps_up.is_open()
    for client in slow:
        client.abort()
    wait_until(lambda: memory(broker).level == pb.MEMORY_LEVEL_NORMAL, "memory to be free")
    assert "MEMORY_LEVEL_NORMAL" in broker.http("/statusz")[1]
    broker.connect(ticket)
    assert keeps_up.is_open()
