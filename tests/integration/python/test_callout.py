"""The way CALLOUT: the broker asks the application who a client is."""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest

from harness import raw
from harness.authenticator import Authenticator, admit, refuse
from harness.broker import wait_until
from harness.checks import refused
from harness.revoke import close_account
from harness.sockets import Refused

EXAMPLES = pathlib.Path(__file__).parents[3] / "client_stubs" / "python" / "examples"
COOKIE = "session=c4nary-of-a-client"


@pytest.fixture
def application():
    started = Authenticator()
    yield started
    started.stop()


@pytest.fixture
def start(start_broker):
    def start(target, *arguments, endpoint=None, limits=None, **callout):
        return start_broker(*arguments, config={
            "endpoints": [{"path": "/ws", "ways": ["TICKET", "CALLOUT"], **(endpoint or {})}],
            "limits": limits or {},
            "callout": {"target": target, "deadline": "4s", **callout},
        })
    return start


def callouts(broker, result):
    return broker.metric("callouts_total", result=result)


def knock(broker, headers=None, path="/ws"):
    return broker.exchange(raw.request(path, headers))


def test_admitted_as_the_application_says(start, application):
    application.answer = lambda _: admit("a1", session="s1", labels={"plan": "pro"}, groups=["g"])
    broker = start(application.target)
    socket = broker.connect(query="room=5&x=%20", extra_headers={"Cookie": COOKIE, "X-Team": "blue"})
    assert socket.is_open()
    (found,) = broker.list()
    assert found.identity.account_id == "a1" and found.identity.token_hash == "s1"
    assert found.identity.labels == {"plan": "pro"} and list(found.identity.groups) == ["g"]
    asked = application.handshakes[0]
    assert (asked.namespace, asked.endpoint, asked.query) == ("default", "/ws", "room=5&x=%20")
    assert [(c.name, c.value) for c in asked.cookies] == [("session", "c4nary-of-a-client")]
    assert ("x-team", "blue") in [(h.name, h.value) for h in asked.headers]
    assert asked.remote_address == "127.0.0.1" and asked.remote_port == found.remote_port
    assert asked.epoch == found.epoch
    assert asked.tls == (broker.tls is not None)
    assert callouts(broker, "admitted") == 1 and broker.metric("callout_seconds_count") == 1
    # Nobody but the application has seen what identifies the client.
    assert "c4nary" not in str(found) and "c4nary" not in broker.log() and "c4nary" not in broker.http("/statusz")[1]


def test_refused_with_status_and_reason(start, application):
    application.answer = lambda _: refuse(403, "your subscription has ended")
    broker = start(application.target)
    response = knock(broker)
    assert response.status == 403 and response.body == b"your subscription has ended\n"
    assert callouts(broker, "refused") == 1 and broker.list() == []


def test_a_ticket_asks_nobody(start, application):
    broker = start(application.target)
    assert broker.join("a9").is_open()
    with refused(401):
        broker.connect("x" * 43)
    assert application.handshakes == []


def test_an_answer_that_cannot_be_taken(start, application):
    application.answer = lambda _: admit("")
    broker = start(application.target)
    response = knock(broker)
    assert response.status == 503 and response.header("Retry-After") == ["1"]
    assert broker.wait_for_log("callout_invalid")["fault"].startswith("identity.account_id: ")


def test_too_late_is_503(start, application):
    gate = threading.Event()
    application.answer = lambda _: gate.wait(20) and admit("a1")
    broker = start(application.target, deadline="0.2s")
    response = knock(broker)
    gate.set()
    assert response.status == 503 and response.header("Retry-After") == ["1"]
    assert broker.wait_for_log("callout_failed")["code"] == "DEADLINE_EXCEEDED"
    assert callouts(broker, "deadline") == 1


def test_nobody_there_is_503_until_somebody_is(start):
    gone = Authenticator()
    gone.stop()
    broker = start(gone.target, breaker_failures=2, breaker_pause="0.1s")
    assert knock(broker).status == 503
    assert callouts(broker, "failed") == 1
    assert knock(broker).status == 503
    broker.wait_for_log("callout_breaker_opened")
    back = Authenticator(port=gone.port)
    wait_until(lambda: knock(broker).status == 101, "an application that is back")
    broker.wait_for_log("callout_breaker_closed")
    assert broker.metric("callout_breaker_open") == 0
    back.stop()


def test_the_breaker_spares_an_application_that_fails(start, application):
    def fail(_):
        raise RuntimeError("broken")

    application.answer = fail
    broker = start(application.target, breaker_failures=3, breaker_pause="1h")
    for _ in range(10):
        assert knock(broker).status == 503
    assert len(application.handshakes) == 3
    assert callouts(broker, "open") == 7 and broker.metric("callout_breaker_open") == 1


def test_more_than_are_allowed_are_refused_at_once(start, application):
    gate = threading.Event()
    application.answer = lambda _: gate.wait(20) and admit("a1")
    broker = start(application.target, max_concurrent=2)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(knock, broker) for _ in range(2)]
        application.wait_for_calls(2)
        assert knock(broker).status == 503
        assert callouts(broker, "busy") == 1
        gate.set()
        assert [w.result().status for w in waiting] == [101, 101]


def test_a_revocation_meanwhile_wins(start, application):
    gate = threading.Event()
    application.answer = lambda _: gate.wait(20) and admit("a1", session="s1")
    broker = start(application.target)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(knock, broker)
        application.wait_for_calls(1)
        close_account(broker, "a1")
        gate.set()
        assert waiting.result().status == 401
    assert broker.list() == []
    assert knock(broker).status == 101  # verified after it


def test_the_key_is_shown_and_logged_nowhere(start, application, tmp_path):
    key = tmp_path / "key"
    key.write_text("k3y-of-the-broker\n")
    broker = start(application.target, "--log-level", "debug", key_file=os.fspath(key))
    assert knock(broker).status == 101
    assert application.authorizations == ["Bearer k3y-of-the-broker"]
    application.answer = lambda _: admit("")
    knock(broker, {"Cookie": COOKIE, "Authorization": "Bearer c4nary"})
    assert "k3y" not in broker.log() and "c4nary" not in broker.log()


def test_no_start_without_the_key(start_broker, tmp_path):
    broker = start_broker(ready=False, config={
        "callout": {"target": "127.0.0.1:1", "key_file": os.fspath(tmp_path / "none")}})
    assert broker.wait() == 2
    assert f'callout.key_file: "{tmp_path}/none" cannot be read' in broker.log()
    broker.stop = lambda: 0  # it has ended as it should


def test_a_drain_does_not_wait_for_the_application(start, application):
    gate = threading.Event()
    application.answer = lambda _: gate.wait(20) and admit("a1")
    broker = start(application.target, "--set=drain.window=0s")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(knock, broker)
        application.wait_for_calls(1)
        assert broker.stop() == 0
        with pytest.raises((EOFError, ConnectionError, OSError)):
            waiting.result()
    gate.set()


def example(command):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().split()[-1]


@pytest.mark.parametrize("language", ["python", "cpp"])
def test_the_examples(start, tmp_path, language):
    key, sessions = tmp_path / "key", tmp_path / "sessions"
    key.write_text("k1\n")
    if language == "python":
        sessions.write_text(json.dumps({"c1": {"account": "alice", "plan": "pro"}}))
        command = [sys.executable, EXAMPLES / "authenticator.py", sessions, "--port", "0", "--key-file", key]
    else:
        sessions.write_text("c1 alice pro\n")
        command = [os.environ["AUTHENTICATOR_EXAMPLE"], sessions, "0", key]
    process, target = example(command)
    try:
        broker = start(target, key_file=os.fspath(key))
        socket = broker.connect(extra_headers={"Cookie": "session=c1"})
        assert socket.is_open() and broker.count('account_id = "alice" AND labels.plan = "pro"') == 1
        for cookie in ("session=c2", "session=c1; session=c1", "other=c1"):
            assert knock(broker, {"Cookie": cookie}).status == 401
        without_key = start(target)
        with pytest.raises(Refused) as caught:
            without_key.connect(extra_headers={"Cookie": "session=c1"})
        assert caught.value.status == 503
        assert without_key.wait_for_log("callout_failed")["code"] == "UNAUTHENTICATED"
    finally:
        process.kill()
        process.wait()
