"""Services of the Python framework come, stay, and go, on the real daemon."""

import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from harness.broker import PATIENCE, wait_until
from harness.callers import caller, configured, key_of
from harness.framework import request, result
from socketbroker import BrokerError


class Gate:
    """A handler that waits, and says so."""

    def __init__(self):
        self.entered, self.open = threading.Event(), threading.Event()
        self.context = None

    def __call__(self, params, context):
        self.context = context
        self.entered.set()
        assert self.open.wait(PATIENCE)
        return "done"

    def wait(self):
        assert self.entered.wait(PATIENCE)


def with_gate(gate, name="it"):
    def prepare(service):
        service.on("wait", gate)
        service.on("*", lambda params, context: name)

    return prepare


def test_it_is_attached_again_after_a_crash_of_the_broker(start_broker, serve):
    gate = Gate()
    broker = start_broker()
    running = serve(broker, with_gate(gate))
    socket = broker.join("a1")
    request(socket, 1, "wait")
    gate.wait()
    broker.kill()
    # The handler hears of it, and may still run when the next broker is there.
    assert gate.context.cancelled.wait(PATIENCE)
    ports = [argument for listener, address in (("websocket", broker.websocket), ("control", broker.control))
             for argument in (f"--{listener}-port", address.rpartition(":")[2])]
    again = start_broker(*ports)
    assert again.control == broker.control
    running.attached()
    socket = again.join("a1")
    request(socket, 2, "m")
    assert socket.receive_json() == result(2, "it")
    gate.open.set()
    request(socket, 3, "wait")
    assert socket.receive_json() == result(3, "done")


def test_it_waits_for_a_broker_that_is_not_there_yet(start_broker, serve):
    broker = start_broker()
    broker.stop()
    running = serve(broker, with_gate(Gate()), wait=False)
    start_broker("--control-port", broker.control.rpartition(":")[2])
    running.attached()


def test_it_is_drained_while_a_request_is_open(broker, serve):
    gate = Gate()
    first = serve(broker, with_gate(gate))
    socket = broker.join("a1")
    request(socket, 1, "wait")
    gate.wait()
    serve(broker, with_gate(Gate(), "second"))
    other = broker.join("a2")

    def ask():
        request(other, 2, "m")
        return other.receive_json()["result"]

    first.service.drain()
    wait_until(lambda: ask() == "second", "the drain")
    assert {ask() for _ in range(100)} == {"second"}
    assert not gate.context.cancelled.is_set()
    gate.open.set()
    assert socket.receive_json() == result(1, "done")
    assert first.end() is None


@pytest.mark.parametrize("cut", ["second call", "time limit"])
def test_a_drain_is_cut(broker, serve, cut):
    gate = Gate()
    running = serve(broker, with_gate(gate))
    socket = broker.join("a1")
    request(socket, 1, "wait")
    gate.wait()
    if cut == "time limit":
        running.service.drain(0.05)
    else:
        running.service.drain()
        running.service.drain()
    assert running.end() is None
    assert gate.context.cancelled.is_set()
    assert socket.receive_json()["error"]["code"] == -32001
    gate.open.set()


def test_a_drained_service_does_not_begin(broker, serve):
    running = serve(broker, lambda service: service.drain(), wait=False)
    assert running.end() is None
    with pytest.raises(RuntimeError, match="already"):
        running.service.run()


def ends_with(running, code):
    with pytest.raises(BrokerError) as caught:
        running.end()
    assert caught.value.code.name == code
    return caught.value


def test_there_is_no_use_in_trying_again(start_broker, serve):
    broker = start_broker(api_key=key_of("admin"), config=configured(
        caller("admin", "ADMIN"), caller("sender", "SEND"), caller("listener", "LISTEN")))
    sender = serve(broker, with_gate(Gate()), api_key=key_of("sender"), wait=False)
    assert ends_with(sender, "PERMISSION_DENIED").reason == "ROLE_MISSING"
    ends_with(serve(broker, with_gate(Gate()), api_key="nobody", wait=False), "UNAUTHENTICATED")
    wrong = serve(broker, with_gate(Gate()), api_key=key_of("listener"), wait=False, filter="nonsense = 1")
    assert ends_with(wrong, "INVALID_ARGUMENT").violations[0].field == "messages.filter"
    # It may listen, so it begins; and must not send.
    listener = serve(broker, lambda service: service.on("*", lambda params, context: context.notify("n")),
                     api_key=key_of("listener"))
    request(broker.join("a1"), 1, "m")
    assert ends_with(listener, "PERMISSION_DENIED").reason == "ROLE_MISSING"


SCRIPT = textwrap.dedent("""
    import os, signal, sys
    from socketbroker import Client, Service

    service = Service(Client(sys.argv[1]), concurrency=4)
    service.on("who", lambda params, context: context.cancelled.wait(0.002) or os.getpid())
    service.on_started(lambda: print("attached", flush=True))
    signal.signal(signal.SIGTERM, lambda *_: service.drain(10))
    service.run()
    print("drained", flush=True)
""")


@pytest.fixture
def spawn(broker):
    """Services that are processes."""
    processes = []

    def spawn():
        process = subprocess.Popen([sys.executable, "-B", "-c", SCRIPT, broker.control],
                                   stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "attached\n"
        return process

    yield spawn
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_signal_drains_it(broker, spawn):
    process = spawn()
    socket = broker.join("a1")
    request(socket, 1, "who")
    assert socket.receive_json() == result(1, process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert process.stdout.read() == "drained\n"


def test_one_of_two_is_killed(broker, spawn):
    """Every request is answered once: with a result, or with an error that says it may be lost."""
    first, second = spawn(), spawn()
    socket = broker.join("a1")
    count, answers, pids, lost = 600, {}, set(), 0
    window = threading.Semaphore(40)

    def ask():
        for n in range(count):
            assert window.acquire(timeout=PATIENCE)
            request(socket, n, "who")

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    while len(answers) < count:
        answer = socket.receive_json()
        window.release()
        assert answer["id"] not in answers
        answers[answer["id"]] = answer
        if "result" in answer:
            pids.add(answer["result"])
        else:
            assert answer["error"]["code"] in (-32000, -32001), answer
            lost += 1
        if len(answers) == count // 3:
            assert pids == {first.pid, second.pid}
            first.kill()
    asking.join(PATIENCE)
    # At most what the killed one was given was lost; and no answer comes twice.
    assert lost <= 4
    request(socket, "last", "who")
    assert socket.receive_json() == result("last", second.pid)
