"""The example chat, in real browsers."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from harness import raw
from harness.broker import BINARY, PATIENCE
from harness.devtools import Browser

CHAT = pathlib.Path(__file__).parents[3] / "client_stubs/examples/chat/service.py"


class Chat:
    """The running example."""

    def __init__(self, control_port, websocket_port, binary):
        self.process = subprocess.Popen(
            [sys.executable, "-B", CHAT, "--port", "0", "--control-port", control_port,
             "--websocket-port", websocket_port],
            env={**os.environ, "BROKER_BINARY": binary}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.said = ""
        self.url = self.wait_for("http://").split()[-1]

    def wait_for(self, words):
        """The line with these words."""
        for line in self.process.stdout:
            self.said += line
            if words in line:
                return line
        raise AssertionError(self.said)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.stdout.close()


@pytest.fixture
def run_chat():
    chats = []

    def run(*arguments):
        chats.append(Chat(*arguments))
        return chats[-1]

    yield run
    assert [chat.stop() for chat in chats] == [0] * len(chats)


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path)
    yield browser
    browser.stop()


def port_of(address):
    return address.rpartition(":")[2]


def log_in(tab, name):
    tab.see("login", "Log in")
    tab.type("name", name)
    tab.click("#login button")
    tab.see("status", "You are in the room lobby")


def test_two_users_and_two_tabs_of_one_session(broker, run_chat, browser):
    chat = run_chat(port_of(broker.control), port_of(broker.websocket), "/nonexistent")
    assert "no broker" not in chat.said
    hers, his = browser.profile(), browser.profile()

    # A login, which the second tab has by the same cookie.
    alice = browser.open(chat.url, hers)
    log_in(alice, "alice")
    alice2 = browser.open(chat.url, hers)
    alice2.see("status", "You are in the room lobby")
    bob = browser.open(chat.url, his)
    log_in(bob, "bob")
    alice.see("messages", "bob has come")
    sessions = {c.identity.account_id: c.identity.token_hash for c in broker.list()}
    assert set(sessions) == {"alice", "bob"} and broker.count(f'token_hash = "{sessions["alice"]}"') == 2

    # Both ways, and what is said is text.
    bob.type("text", "<b>hello</b>")
    bob.click("#say button")
    for tab in (alice, alice2, bob):
        tab.see("messages", "bob: <b>hello</b>")
    assert bob.evaluate("document.getElementById('text').value") == ""

    # Each page is asked.
    bob.type("text", "I am about to")
    alice.click("#who")
    alice.see("people", "alice, bob (typing)")
    bob.type("text", "")
    alice.click("#who")
    alice.wait("document.getElementById('people').innerText === 'alice, bob'")

    # Another room hears nothing of this one.
    alice2.type("room", "kitchen")
    alice2.click("#rooms button")
    alice2.see("status", "You are in the room kitchen")
    bob.see("messages", "alice has left")
    assert broker.count('groups:"lobby"') == 2 and broker.count('groups:"kitchen"') == 1
    alice2.type("text", "alone")
    alice2.click("#say button")
    alice2.see("messages", "alice: alone")
    alice.type("text", "still here")
    alice.click("#say button")
    bob.see("messages", "alice: still here")
    for tab, unheard in ((bob, "alone"), (alice, "alone"), (alice2, "still here")):
        assert unheard not in tab.evaluate("document.getElementById('messages').innerText")
    alice2.type("room", "No Such Room")
    alice2.click("#rooms button")
    alice2.see("status", "a room has 1 to 32 letters")

    # Nowhere.
    bob.click("#leave")
    bob.see("status", "You are in no room")
    alice.see("messages", "bob has left")
    bob.type("text", "anybody?")
    bob.click("#say button")
    bob.see("status", "join a room first")
    bob.click("#rooms button")
    bob.see("status", "You are in the room lobby")

    # A logout closes every tab of the session, and no other.
    alice.click("#logout")
    for tab in (alice, alice2):
        tab.see("status", "You are logged out (4001: Session revoked).")
        tab.see("login", "Log in")
    bob.see("messages", "alice has left")
    assert broker.count('account_id = "alice"') == 0 and broker.count('account_id = "bob"') == 1
    log_in(alice, "alice")

    # A tab that is closed is missed.
    alice.close()
    bob.wait("document.getElementById('messages').innerText.match(/alice has left/g).length === 3")


def test_a_login_without_a_length_is_refused(broker, run_chat):
    chat = run_chat(port_of(broker.control), port_of(broker.websocket), "/nonexistent")
    for length in ("-1", "x", ""):
        login = f"POST /login HTTP/1.1\r\nContent-Length: {length}\r\n\r\n".encode()
        assert raw.exchange(int(port_of(chat.url.rstrip("/"))), login).status == 400


def test_it_goes_on_when_the_service_is_started_again(broker, run_chat, browser):
    """The sockets are the broker's."""
    chat = run_chat(port_of(broker.control), port_of(broker.websocket), "/nonexistent")
    tab = browser.open(chat.url, browser.profile())
    log_in(tab, "alice")
    assert chat.stop() == 0
    tab.click("#who")
    tab.see("status", "Method not found")
    run_chat(port_of(broker.control), port_of(broker.websocket), "/nonexistent").wait_for("attached")
    tab.click("#who")
    tab.see("people", "alice")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def test_it_starts_a_broker_when_there_is_none(run_chat, browser):
    chat = run_chat(free_port(), free_port(), str(pathlib.Path(shutil.which(BINARY)).resolve()))
    assert "no broker answers: starting" in chat.said
    tab = browser.open(chat.url, browser.profile())
    log_in(tab, "alice")


def test_it_waits_for_a_broker(run_chat, browser, start_broker):
    control, websocket = free_port(), free_port()
    chat = run_chat(control, websocket, "/nonexistent")
    assert "start one with tools/run" in chat.said
    broker = start_broker("--control-port", control, "--websocket-port", websocket)
    tab = browser.open(chat.url, browser.profile())
    log_in(tab, "alice")
    assert broker.count() == 1
