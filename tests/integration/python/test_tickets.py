"""Tickets: minted by CreateTicket, presented once, and refused all alike."""

import time

import pytest

from harness import raw
from harness.broker import identity
from harness.checks import fails, notification, refused
from socketbroker.v1 import connection_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

TWO_NAMESPACES = {
    "endpoints": [
        {"path": "/ws", "namespace": "default"},
        {"path": "/other", "namespace": "other"},
    ]
}


def refusal(broker, path="/ws", **headers):
    """The refusal of a handshake, without what may differ by time."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    response = broker.exchange(raw.request(path, headers))
    assert response.status == 401
    return [h for h in response.headers if h[0].lower() != "date"], response.body


@pytest.mark.parametrize("by", ["subprotocol", "query"])
def test_ticket_admits_and_carries_the_identity(broker, by):
    ticket = broker.ticket("a1", session="s1", labels={"region": "eu"}, groups=["beta"])
    socket = broker.connect(ticket, by=by, query="from=test")
    connection = broker.find("from=test")
    assert connection.state == connection_pb2.CONNECTION_STATE_ADMITTED
    assert connection.identity == identity("a1", session="s1", labels={"region": "eu"}, groups=["beta"])
    assert broker.count() == 1
    sent = broker.client.send_to_account(pb.SendToAccountRequest(account_id="a1", message=notification(n=1)))
    assert (sent.matched, sent.queued, sent.dropped_slow) == (1, 1, 0)
    assert socket.receive_json() == {"jsonrpc": "2.0", "method": "note", "params": {"n": 1}}


def test_only_the_protocol_is_answered_never_the_ticket(broker):
    ticket = broker.ticket("a1")
    response = broker.raw_socket(ticket).response
    assert response.header("Sec-WebSocket-Protocol") == ["socketbroker.v1"]
    assert ticket not in str(response.headers)


def test_no_protocol_is_answered_to_a_client_that_offered_none(broker):
    assert broker.connect(broker.ticket("a1"), by="query").subprotocol is None


def test_ticket_is_43_characters_of_base64url_and_never_the_same(broker):
    tickets = {broker.ticket("a1") for _ in range(20)}
    assert len(tickets) == 20
    for ticket in tickets:
        assert len(ticket) == 43 and ticket.replace("-", "a").replace("_", "a").isalnum()


@pytest.mark.parametrize("by", ["subprotocol", "query"])
def test_ticket_admits_once(broker, by):
    ticket = broker.ticket("a1")
    broker.connect(ticket, by=by)
    for again in ("subprotocol", "query"):
        with refused(401):
            broker.connect(ticket, by=again)
    assert broker.count() == 1


def test_every_refused_ticket_gets_the_same_401(start_broker):
    broker = start_broker(config=TWO_NAMESPACES)
    used, revoked = broker.ticket("a1"), broker.ticket("a2", session="s2")
    elsewhere = broker.ticket("a1", namespace="other")
    bound = broker.ticket("a1", allowed_origins=["http://localhost:1"])
    expired = broker.ticket("a1", ttl=0.05)
    broker.connect(used)
    broker.client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(token_hash="s2"))
    # Nothing tells the end of a ticket's life; this connection's end comes later.
    assert broker.join("a3", expires_at=time.time() + 1).closed()[0] == 4005

    refusals = [
        refusal(broker, f"/ws?ticket={ticket}")
        for ticket in (used, revoked, elsewhere, expired, "A" * 43, "short")
    ]
    refusals.append(refusal(broker, f"/ws?ticket={bound}", Origin="http://localhost:2"))
    refusals.append(refusal(broker, Sec_WebSocket_Protocol=f"socketbroker.v1, ticket.{used}"))
    assert all(other == refusals[0] for other in refusals)


def test_without_a_ticket_an_endpoint_for_tickets_only_answers_401(start_broker):
    broker = start_broker(config={"endpoints": [{"path": "/ws", "ways": ["TICKET"]}]})
    with refused(401):
        broker.connect()
    broker.connect(broker.ticket("a1"))


def test_ticket_bound_to_origins_admits_those_only(broker):
    origins = ["http://localhost:7001", "http://localhost:7002"]
    broker.connect(broker.ticket("a1", allowed_origins=origins), origin=origins[1])
    with refused(401):
        broker.connect(broker.ticket("a1", allowed_origins=origins), origin="http://localhost:7003")
    with refused(401):
        broker.connect(broker.ticket("a1", allowed_origins=origins))


def test_ticket_opens_its_own_namespace_only(start_broker):
    broker = start_broker(config=TWO_NAMESPACES)
    with refused(401):
        broker.connect(broker.ticket("a1", namespace="other"), path="/ws")
    broker.connect(broker.ticket("a1", namespace="other"), path="/other")
    assert (broker.count(), broker.count(namespace="other")) == (0, 1)


@pytest.mark.parametrize("origin", [None, "http://localhost:3000", "http://127.0.0.1:8000", "https://[::1]"])
def test_absent_and_loopback_origins_are_allowed(broker, origin):
    broker.connect(broker.ticket("a1"), origin=origin)


@pytest.mark.parametrize("origin", [
    "https://evil.example", "null", "http://localhost.evil.example", "http://127.0.0.1.evil.example",
    "file://", "http://evil.example:80@localhost",
])
def test_foreign_origin_is_403_whatever_the_ticket(broker, origin):
    for ticket in (broker.ticket("a1"), "A" * 43, None):
        with refused(403):
            broker.connect(ticket, origin=origin)
    assert broker.list() == []


def test_configured_origins_are_compared_whole(start_broker):
    broker = start_broker(config={"endpoints": [{"path": "/ws", "allowed_origins": ["https://app.example"]}]})
    broker.connect(broker.ticket("a1"), origin="https://app.example")
    for origin in ("https://app.example.evil", "http://app.example", "https://app.example:8443", "http://localhost:1"):
        with refused(403):
            broker.connect(broker.ticket("a1"), origin=origin)


@pytest.mark.parametrize("wrong, field", [
    ({}, "identity.account_id"),
    ({"account": ""}, "identity.account_id"),
    ({"account": "a1", "session": ""}, "identity.token_hash"),
    ({"account": "a1", "token": ""}, "identity.api_token_id"),
    ({"account": "a1", "session": "s", "token": "t"}, None),
    ({"account": "a" * 257}, "identity.account_id"),
    ({"account": "a1", "groups": [""]}, None),
    ({"account": "a1", "labels": {"not a key": "x"}}, None),
    ({"account": "a1", "expires_at": 1.0}, "identity.expires_at"),
])
def test_wrong_identity_is_invalid(broker, wrong, field):
    with fails("INVALID_ARGUMENT", field=field):
        broker.ticket(**wrong)


@pytest.mark.parametrize("ttl", [0, -1, 60.001])
def test_ttl_outside_its_limits_is_invalid(broker, ttl):
    with fails("INVALID_ARGUMENT", field="ttl"):
        broker.ticket("a1", ttl=ttl)


def test_ttl_is_30_seconds_unless_given(broker):
    def life(request):
        before = time.time()
        answer = broker.client.create_ticket(request)
        return answer.expire_time.ToMicroseconds() / 1e6 - before

    request = pb.CreateTicketRequest(identity=identity("a1"), verified_at_epoch=broker.epoch)
    assert 29 < life(request) < 32
    request.ttl.FromSeconds(60)
    assert 59 < life(request) < 62


def test_epoch_of_the_verification_is_required_and_not_from_the_future(broker):
    with fails("INVALID_ARGUMENT", field="verified_at_epoch"):
        broker.client.create_ticket(pb.CreateTicketRequest(identity=identity("a1")))
    with fails("INVALID_ARGUMENT", "EPOCH_AHEAD", field="verified_at_epoch"):
        broker.ticket("a1", epoch=broker.epoch + 1)
    with fails("FAILED_PRECONDITION", "EPOCH_TOO_OLD"):
        broker.ticket("a1", epoch=1)


def test_namespace_without_an_endpoint_is_invalid(broker):
    with fails("INVALID_ARGUMENT", field="namespace"):
        broker.ticket("a1", namespace="nowhere")
