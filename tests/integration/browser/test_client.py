"""The browser client in a browser: tickets, closes, and how it comes back."""

import time

from client_page import STUB, ClientPage
from harness.broker import wait_until
from harness.checks import notification
from harness.revoke import close_session
from socketbroker.v1 import socket_broker_pb2 as pb


def test_connects_with_a_ticket_and_is_told(broker, site, client):
    client.open(broker.websocket)
    client.event("open")
    (connection,) = broker.list()
    assert connection.identity.account_id == "a1"
    assert connection.origin == f"http://127.0.0.1:{site.port}"
    client.run("connection.on('news', (params) => report({event: 'news', params}))")
    broker.client.send(pb.SendRequest(message=notification("news", text="caf\u00e9 \U0001f600")))
    assert client.event("news")["params"] == {"text": "caf\u00e9 \U0001f600"}
    client.run("connection.close()")
    assert client.event("closed")["error"]["code"] == "closed"
    broker.wait_connections(lambda: broker.metric("closes_total", code=1000) == 1, "the broker to hear of it")


def test_a_ticket_that_is_refused_is_replaced(broker, client):
    fresh = client.give_ticket
    used = broker.ticket("a1")
    broker.connect(used)
    client.give_ticket = lambda: used if client.tickets == 1 else fresh()
    client.open(broker.websocket)
    # All that a browser learns of a 401.
    assert client.event("waiting")["closeCode"] == 1006
    client.event("connecting")
    client.event("open")
    assert client.tickets == 2


def test_a_broker_that_restarts(start_broker, site, browse, make_relay):
    brokers = [start_broker()]
    relay = make_relay(brokers[0].websocket)
    client = ClientPage(site, browse, lambda: brokers[0].ticket("a1"))
    client.open(relay.address)
    client.event("open")
    client.give_ticket = lambda: None
    assert brokers.pop().stop() == 0
    waiting = client.event("waiting")
    assert (waiting["closeCode"], waiting["closeReason"]) == (1001, "Going away")
    assert 0 <= waiting["delay"] <= 500
    # There is nobody who gives tickets either.
    assert client.until("error")["error"]["message"] == "no ticket: 401"
    request = client.start("return connection.request('m')")

    brokers.append(start_broker())
    relay.target = brokers[0].websocket
    before = client.tickets
    client.give_ticket = lambda: brokers[0].ticket("a2")
    client.until("open")
    assert client.tickets > before
    (connection,) = brokers[0].list()
    assert connection.identity.account_id == "a2"
    # What was asked meanwhile is asked now.
    assert request.error()["code"] == -32601


def test_a_broker_that_dies(broker, client):
    client.open(broker.websocket)
    client.event("open")
    broker.kill()
    assert client.event("waiting")["closeCode"] == 1006


def test_revoked_is_terminal_until_the_application_connects(broker, client):
    client.open(broker.websocket)
    client.event("open")
    assert close_session(broker, "s1").closed == 1
    closed = client.event("closed")
    assert (closed["closeCode"], closed["closeReason"]) == (4001, "Session revoked")
    assert closed["error"]["code"] == "unauthenticated"
    assert client.event("revoked")["closeCode"] == 4001
    assert client.start("return connection.request('m')").error()["code"] == "closed"
    assert client.run("return connection.state") == "closed"
    assert client.quiet() and client.tickets == 1

    client.give_ticket = lambda: broker.ticket("a1", session="s2")
    client.run("connection.connect()")
    client.event("connecting")
    client.event("open")
    assert client.tickets == 2


def test_a_credential_that_expires(broker, client):
    client.give_ticket = lambda: broker.ticket("a1", expires_at=time.time() + 3)
    client.open(broker.websocket)
    client.event("open")
    client.give_ticket = lambda: broker.ticket("a1")
    assert client.event("waiting")["closeCode"] == 4005
    client.event("connecting")
    client.event("open")


def test_a_credential_that_expires_and_is_not_renewed(broker, client):
    client.give_ticket = lambda: broker.ticket("a1", expires_at=time.time() + 3)
    client.open(broker.websocket)
    client.event("open")
    client.give_ticket = lambda: None
    assert client.event("waiting")["closeCode"] == 4005
    client.event("connecting")
    assert client.event("closed")["error"]["code"] == "unauthenticated"
    assert client.quiet()


def test_a_request_that_nobody_takes(broker, client):
    client.open(broker.websocket)
    assert client.start("return connection.request('m', {a: 1})").error() == {
        "name": "JsonRpcError", "message": "Method not found", "code": -32601}


def test_heartbeats_are_answered(broker, client):
    client.open(broker.websocket, heartbeat={"method": "ping", "interval": 50, "timeout": 30_000})
    client.event("open")
    wait_until(lambda: broker.metric("messages_total", direction="in") >= 3, "three heartbeats")
    assert client.quiet()


def test_a_silent_server_is_left(broker, client, make_relay):
    relay = make_relay(broker.websocket)
    client.open(relay.address, heartbeat={"method": "ping", "interval": 500, "timeout": 4000})
    client.event("open")
    (first,) = broker.list()
    relay.hold()
    waiting = client.event("waiting")
    assert (waiting["closeCode"], waiting["closeReason"], waiting["delay"]) == (4002, "Server silent", 0)
    relay.resume()
    client.until("open")
    broker.wait_connections(lambda: broker.metric("closes_total", code=4002) == 1, "the broker to hear why")
    broker.wait_connections(lambda: [c.connection_id != first.connection_id for c in broker.list()] == [True], "only the new one")


def test_the_readme_example(broker, site, browse):
    """Is served as it stands, but for the port."""
    page = (STUB / "README.md").read_text().partition("```html\n")[2].partition("```\n")[0]
    assert "ws://127.0.0.1:8080/ws" in page
    site.pages["/client"] = ("text/html", page.replace("127.0.0.1:8080", broker.websocket).encode())
    site.pages["/socketbroker.js"] = ("text/javascript", (STUB / "socketbroker.js").read_bytes())
    site.actions["/ticket"] = lambda _: (200, broker.ticket("a1"))
    browse(f"http://127.0.0.1:{site.port}/client")
    broker.wait_connections(broker.list, "the page to connect")
    wait_until(lambda: broker.metric("messages_total", direction="in") == 2, "what the page asks and tells")
