"""Attached services: they judge handshakes and hear what happens to connections."""

import concurrent.futures
import functools
import json

import grpc
import pytest

from harness import raw
from harness.broker import PATIENCE, identity, wait_until
from harness.checks import fails, refused
from harness.revoke import close_account
from socketbroker import BrokerError, Client
from socketbroker.v1 import attach_pb2, connection_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

Cause = attach_pb2.ConnectionClosed


@pytest.fixture
def attach(attach):
    """Services that judge handshakes, unless they say otherwise."""
    return functools.partial(attach, handshakes=True)


@pytest.fixture
def broker(start_broker):
    return start_broker(config={"endpoints": [
        {"path": "/ws", "ways": ["TICKET", "ATTACH"], "offer_timeout": "1m", "pending_timeout": "1m"},
        {"path": "/soon", "ways": ["ATTACH"], "offer_timeout": "0.2s", "pending_timeout": "1m"},
    ]})


def test_offered_bound_and_admitted(broker, attach):
    service = attach(broker)
    socket = broker.connect(query="room=5", extra_headers={"Cookie": "session=c4nary", "X-Team": "blue"})
    offer = service.next("handshake_offer")
    said = offer.handshake
    assert (said.namespace, said.endpoint, said.query) == ("default", "/ws", "room=5")
    assert [(c.name, c.value) for c in said.cookies] == [("session", "c4nary")]
    assert ("x-team", "blue") in [(h.name, h.value) for h in said.headers]
    assert said.remote_address == "127.0.0.1" and said.tls == (broker.tls is not None)
    assert said.epoch == service.started.epoch and offer.timeout.seconds == 60
    (pending,) = broker.list()
    assert pending.connection_id == offer.connection_id
    assert pending.state == connection_pb2.CONNECTION_STATE_PENDING
    admitted = service.admit(offer, "a1", session="s1")
    assert admitted.state == connection_pb2.CONNECTION_STATE_ADMITTED
    assert socket.is_open() and broker.count('account_id = "a1"') == 1
    # Nobody but the service has seen what identifies the client.
    assert "c4nary" not in str(pending) and "c4nary" not in broker.log()


def test_messages_wait_for_the_service(broker, attach):
    service = attach(broker)
    socket = broker.connect()
    socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "m"}))
    service.admit(service.next("handshake_offer"), "a1")
    assert socket.receive_json()["id"] == 1


def test_refused_with_a_reason(broker, attach):
    service = attach(broker, match_all=True)
    socket, other = broker.connect(), broker.connect()
    first, second = service.next("handshake_offer"), service.next("handshake_offer")
    service.stream.refuse(first.offer_id, "log in first")
    service.stream.refuse(second.offer_id)
    ends = {socket.closed(), other.closed()}
    assert ends == {(4006, "log in first"), (4006, "Not admitted")}
    closed = [service.next("connection_closed") for _ in range(2)]
    assert {c.cause for c in closed} == {Cause.CAUSE_NOT_ADMITTED} and {c.code for c in closed} == {4006}
    assert {c.reason for c in closed} == {"log in first", "Not admitted"}
    assert not closed[0].connection.HasField("identity")


def test_nobody_attached_is_503(broker, attach):
    response = broker.exchange(raw.request())
    assert response.status == 503 and response.header("Retry-After") == ["1"]
    assert broker.join("a1").is_open()  # with a ticket nobody is asked
    attach(broker, handshakes=False, match_all=True)  # which judges nobody
    with refused(503):
        broker.connect()
    service = attach(broker)
    broker.connect()
    service.next("handshake_offer")
    service.leave()
    wait_until(lambda: broker.metric("attached_services") == 0, "a service that has left")
    with refused(503):
        broker.connect()


def test_unanswered_it_goes_to_another(broker, attach):
    services = [attach(broker), attach(broker)]
    broker.connect(path="/soon")
    offers = [service.next("handshake_offer") for service in services]
    assert offers[0].connection_id == offers[1].connection_id and offers[0].offer_id != offers[1].offer_id
    assert offers[0].handshake.epoch == offers[1].handshake.epoch
    assert broker.metric("offers_expired_total") >= 1
    # The first to bind wins.
    services[0].admit(offers[0], "a1")
    services[1].admit(offers[1], "a1")
    with fails("FAILED_PRECONDITION", "ALREADY_BOUND"):
        services[1].admit(offers[1], "a2")
    assert broker.count('account_id = "a1"') == 1


def test_services_share(broker, attach):
    services = [attach(broker) for _ in range(3)]
    sockets = [broker.connect() for _ in range(12)]
    for service in services:
        for _ in range(4):
            service.admit(service.next("handshake_offer"), "a1")
    assert broker.count() == len(sockets)


def test_a_service_that_dies_is_replaced_at_once(broker, attach):
    first = attach(broker)
    socket = broker.connect()
    offer = first.next("handshake_offer")
    second = attach(broker)
    first.leave()
    again = second.next("handshake_offer")  # well before the minute is over
    assert again.connection_id == offer.connection_id
    second.admit(again, "a1")
    assert socket.is_open() and broker.count() == 1


def test_without_credit_nothing_is_offered(broker, attach):
    idle, busy = attach(broker, credit=(0, 0, 0)), attach(broker, credit=(1, 0, 0))
    broker.connect()
    first = busy.next("handshake_offer")
    broker.connect()
    wait_until(lambda: broker.metric("waiting_handshakes") == 2, "two that wait")
    assert broker.metric("offers_total") == 1
    idle.stream.credit(handshakes=1)
    assert idle.next("handshake_offer").connection_id != first.connection_id


def test_a_revocation_meanwhile_refuses_the_binding(broker, attach):
    service = attach(broker)
    socket = broker.connect()
    offer = service.next("handshake_offer")
    close_account(broker, "a1")
    with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
        service.admit(offer, "a1", session="s1")
    assert socket.is_open() and broker.count() == 0  # still pending: another may be who it is
    assert service.admit(offer, "a2").state == connection_pb2.CONNECTION_STATE_ADMITTED
    # One that comes later was verified later.
    broker.connect()
    service.admit(service.next("handshake_offer"), "a1", session="s1")


def test_no_offer_outlives_a_revocation(broker, attach):
    """After each OK, every admitted connection has arrived after the revocation."""
    service = attach(broker)
    total = 60

    def serve():
        for _ in range(total):
            offer = service.next("handshake_offer")
            try:
                service.admit(offer, "a1", session="s1")
            except BrokerError as error:
                assert error.reason == "CREDENTIAL_REVOKED", error
                service.stream.refuse(offer.offer_id)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        serving = pool.submit(serve)
        for number in range(total):
            broker.connect()
            if number % 3 == 0:
                epoch = close_account(broker, "a1").epoch
                for c in broker.list():
                    assert c.state != connection_pb2.CONNECTION_STATE_ADMITTED or c.epoch >= epoch
        serving.result()


def test_events_and_their_causes(broker, attach):
    service = attach(broker, handshakes=False, filter='account_id = "a1"')
    broker.join("a2").close()
    socket = broker.join("a1", session="s1")
    assert service.next("connection_admitted").connection.connection_id == socket.id
    update = pb.UpdateConnectionRequest(connection_id=socket.id, identity=identity(groups=["g"]))
    update.update_mask.paths.append("groups")
    broker.client.update_connection(update)
    assert list(service.next("connection_updated").connection.identity.groups) == ["g"]
    close_account(broker, "a1")
    closed = service.next("connection_closed")
    assert (closed.cause, closed.code, closed.reason) == (Cause.CAUSE_REVOKED, 4001, "Session revoked")
    assert closed.connection.identity.token_hash == "s1"

    def end(act, **who):
        socket = broker.join("a1", **who)
        service.next("connection_admitted")
        act(socket)
        closed = service.next("connection_closed")
        assert closed.connection.connection_id == socket.id
        return closed.cause, closed.code

    def remove(socket):
        broker.client.remove_connection(pb.RemoveConnectionRequest(connection_id=socket.id))

    assert end(remove) == (Cause.CAUSE_REMOVED, 1000)
    assert end(lambda s: s.close(3001)) == (Cause.CAUSE_CLIENT, 3001)
    assert end(lambda s: s.abort()) == (Cause.CAUSE_LOST, 1006)
    assert end(lambda s: s.send(b"binary")) == (Cause.CAUSE_POLICY, 1003)


def test_events_lost(broker, attach):
    service = attach(broker, handshakes=False, match_all=True, credit=(0, 0, 0))
    socket = broker.join("a1")
    update = pb.PublishRequest()
    for number in range(500):
        item = update.items.add().update_connection
        item.connection_id = socket.id
        item.identity.labels["n"] = str(number)
        item.update_mask.paths.append("labels")
    updates = []
    for number in range(21):
        request = pb.PublishRequest()
        request.CopyFrom(update)
        for item in request.items:
            item.update_connection.identity.labels["round"] = str(number)
        updates.append(request)
    answered = sum(len(response.results) for response in broker.client.publish(updates))
    assert answered == 10_500
    error = service.end()
    assert error.code == grpc.StatusCode.ABORTED and error.reason == "EVENTS_LOST"


def test_a_drain_tells_how_it_ends(start_broker, attach):
    broker = start_broker()
    service = attach(broker, handshakes=False, match_all=True)
    broker.join("a1")
    service.next("connection_admitted")
    assert broker.stop() == 0
    closed = service.next("connection_closed")
    assert closed.cause in (Cause.CAUSE_DRAIN, Cause.CAUSE_LOST)
    assert service.end().code == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("start", [
    {}, {"handshakes": True, "namespace": "nowhere"}, {"filter": "nonsense = 1"}, {"match_all": False},
])
def test_a_wrong_start(broker, start):
    with pytest.raises(BrokerError) as caught:
        next(broker.client.attach(attach_pb2.AttachStart(**start)))
    assert caught.value.code == grpc.StatusCode.INVALID_ARGUMENT and caught.value.violations


def test_wrong_messages_end_it(broker, attach):
    def send(request):
        service = attach(broker)
        service.stream._requests.put(request)
        return service.end()

    late = send(attach_pb2.AttachRequest(start=attach_pb2.AttachStart(handshakes=True)))
    assert [v.field for v in late.violations] == ["start"]
    assert [v.field for v in send(attach_pb2.AttachRequest()).violations] == ["message"]


def test_a_reason_too_long_is_left_out(broker, attach):
    service = attach(broker)
    for reason, told in [("x" * 123, "x" * 123), ("x" * 124, "Not admitted")]:
        socket = broker.connect()
        service.stream.refuse(service.next("handshake_offer").offer_id, reason)
        assert socket.closed() == (4006, told)
    assert broker.wait_for_log("unfit")["why"].startswith("refuse_handshake.reason: 124 bytes")


def test_who_says_nothing_more_is_told_on(broker, attach):
    service = attach(broker, match_all=True)
    service.stream._requests.put(None)  # half-closed
    socket = broker.connect()
    offer = service.next("handshake_offer")
    service.admit(offer, "a1")
    assert service.next("connection_admitted").connection.connection_id == offer.connection_id
    assert socket.is_open()
