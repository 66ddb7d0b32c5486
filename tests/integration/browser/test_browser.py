"""A browser as a client: what its WebSocket sees of tickets, messages and closes."""

import json

from harness.checks import notification
from socketbroker.v1 import socket_broker_pb2 as pb


def connect(broker, site, browse, ticket, host="127.0.0.1", messages=()):
    site.plan = {
        "url": f"ws://{broker.websocket}/ws",
        "subprotocols": ["socketbroker.v1", f"ticket.{ticket}"],
        "messages": list(messages),
    }
    browse(f"http://{host}:{site.port}/")


def test_connects_receives_a_broadcast_and_is_revoked(broker, site, browse):
    ticket = broker.ticket("a1", session="s1", groups=["beta"])
    connect(broker, site, browse, ticket, messages=['{"jsonrpc":"2.0","id":1,"method":"work"}'])
    assert site.report() == {"event": "open", "protocol": "socketbroker.v1"}
    assert json.loads(site.report()["data"])["error"]["code"] == -32601
    (connection,) = broker.list()
    assert connection.origin == f"http://127.0.0.1:{site.port}"

    sent = broker.client.broadcast_filtered(
        pb.BroadcastFilteredRequest(filter='groups:"beta"', message=notification("news", text="caf\u00e9 \U0001f600")))
    assert sent.queued == 1
    report = site.report()
    assert report["event"] == "message"
    assert json.loads(report["data"])["params"] == {"text": "caf\u00e9 \U0001f600"}

    closed = broker.client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(token_hash="s1"))
    assert closed.closed == 1
    assert site.report() == {"event": "close", "code": 4001, "reason": "Session revoked", "clean": True}

    # The same ticket once more: refused, and a browser is not told why.
    connect(broker, site, browse, ticket)
    assert site.report() == {"event": "close", "code": 1006, "reason": "", "clean": False}


def test_page_of_a_foreign_origin_is_refused(broker, site, browse):
    connect(broker, site, browse, broker.ticket("a1"), host="app.example")
    assert site.report()["code"] == 1006
    assert broker.list() == []
    assert broker.metric("handshakes_total", result="403") == 1


def test_page_of_a_configured_origin_is_let_in(start_broker, site, browse):
    broker = start_broker(config={
        "endpoints": [{"path": "/ws", "allowed_origins": [f"http://app.example:{site.port}"]}]})
    connect(broker, site, browse, broker.ticket("a1"), host="app.example")
    assert site.report() == {"event": "open", "protocol": "socketbroker.v1"}
    broker.client.send(pb.SendRequest(message=notification("news")))
    assert json.loads(site.report()["data"])["method"] == "news"
