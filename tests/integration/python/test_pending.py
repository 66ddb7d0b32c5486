"""Pending connections: found, bound, held, admitted, and inert until then."""

import json

import pytest

from harness import raw
from harness.broker import identity
from harness.checks import REVOKED, fails, notification
from harness.revoke import close_account
from socketbroker.v1 import connection_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

PENDING = connection_pb2.CONNECTION_STATE_PENDING
ADMITTED = connection_pb2.CONNECTION_STATE_ADMITTED


def add(broker, socket, *args, hold=False, epoch=None, **kwargs):
    request = pb.AddConnectionRequest(
        connection_id=socket.id, identity=identity(*args, **kwargs), hold=hold, verified_at_epoch=epoch
    )
    return broker.client.add_connection(request)


def admit(broker, socket):
    return broker.client.admit_connection(pb.AdmitConnectionRequest(connection_id=socket.id))


def ask(number):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "work"})


def test_found_as_pending_then_bound_and_admitted(broker):
    sockets = [broker.pend(), broker.pend()]
    assert sockets[0].id != sockets[1].id
    pending = broker.list(states=[PENDING])
    assert [c.connection_id for c in pending] == [s.id for s in sockets]
    for connection in pending:
        assert not connection.HasField("identity") and not connection.HasField("admit_time")
        assert connection.version == 0 and connection.epoch > 0
    assert broker.count() == 0

    response = add(broker, sockets[0], "a1", session="s1")
    assert response.connection.state == ADMITTED and response.connection.version == 1
    assert response.connection.identity == identity("a1", session="s1")
    assert response.epoch >= pending[0].epoch
    assert broker.count() == 1
    add(broker, sockets[1], "a1")
    assert broker.count() == 2

    sockets[0].close()
    broker.wait_connections(lambda: broker.count() == 1, "the count after a client left")
    sockets[1].close()
    broker.wait_connections(lambda: broker.list() == [], "no connection")
    assert broker.count() == 0


def test_takes_part_in_nothing_until_it_is_admitted(broker):
    socket = broker.pend()
    for bound in (False, True):
        if bound:
            add(broker, socket, "a1", hold=True)
        with fails("FAILED_PRECONDITION", "CONNECTION_PENDING"):
            broker.client.send_to_connection(
                pb.SendToConnectionRequest(connection_id=socket.id, message=notification()))
        for answer in (
            broker.client.send(pb.SendRequest(message=notification("early"))),
            broker.client.send_to_account(pb.SendToAccountRequest(account_id="a1", message=notification("early"))),
            broker.client.broadcast_filtered(
                pb.BroadcastFilteredRequest(match_all=True, message=notification("early"))),
        ):
            assert (answer.matched, answer.queued) == (0, 0)
        assert broker.count() == 0 and broker.count("connection_id:*") == 0
    admit(broker, socket)
    broker.client.send(pb.SendRequest(message=notification("first")))
    assert socket.receive_json()["method"] == "first"


def test_held_connection_stays_pending_until_admitted(broker):
    socket = broker.pend()
    assert add(broker, socket, "a1", session="s1", hold=True).connection.state == PENDING
    assert broker.get(socket).identity.account_id == "a1"
    assert admit(broker, socket).connection.state == ADMITTED
    assert admit(broker, socket).connection.state == ADMITTED
    assert broker.count('account_id = "a1"') == 1


def test_admit_needs_a_binding(broker):
    with fails("FAILED_PRECONDITION", "NOT_BOUND"):
        admit(broker, broker.pend())


def test_bound_once_the_same_again_is_ok_another_is_not(broker):
    socket = broker.pend()
    add(broker, socket, "a1", session="s1", labels={"x": "1"}, groups=["g", "h"])
    again = add(broker, socket, "a1", session="s1", labels={"x": "1"}, groups=["g", "h"])
    assert again.connection.version == 1
    for other in ({"account": "a2", "session": "s1"}, {"account": "a1"}, {"account": "a1", "token": "s1"}):
        with fails("FAILED_PRECONDITION", "ALREADY_BOUND"):
            add(broker, socket, **other)
    assert broker.get(socket).identity.token_hash == "s1"


def test_a_repeated_request_id_is_answered_while_no_revocation_came_between(broker):
    socket = broker.pend()
    # Without verified_at_epoch: that of its handshake counts, the second time, too.
    request = pb.AddConnectionRequest(connection_id=socket.id, identity=identity("a1"), request_id="r1")
    first = broker.client.add_connection(request)
    assert broker.client.add_connection(request) == first
    close_account(broker, "a1")
    with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
        broker.client.add_connection(request)


def test_connection_of_a_ticket_is_bound_already(broker):
    socket = broker.join("a1", session="s1")
    add(broker, socket, "a1", session="s1")
    with fails("FAILED_PRECONDITION", "ALREADY_BOUND"):
        add(broker, socket, "a2")


@pytest.mark.parametrize("connection_id", ["", "nonsense", "01890a5d-ac96-774b-bcce-b302099a8057"])
def test_unknown_connection(broker, connection_id):
    code = "NOT_FOUND" if len(connection_id) == 36 else None
    with pytest.raises(Exception) as caught:
        broker.client.add_connection(
            pb.AddConnectionRequest(connection_id=connection_id, identity=identity("a1")))
    assert caught.value.code.name in ([code] if code else ["INVALID_ARGUMENT", "NOT_FOUND"])


@pytest.mark.parametrize("wrong", [
    {}, {"account": ""}, {"account": "a1", "session": ""}, {"account": "a1", "token": ""},
    {"account": "a1", "session": "s", "token": "t"},
])
def test_wrong_identity_is_invalid_and_binds_nothing(broker, wrong):
    socket = broker.pend()
    with fails("INVALID_ARGUMENT"):
        add(broker, socket, **wrong)
    assert broker.get(socket).version == 0


def test_messages_wait_and_are_delivered_in_order_at_admission(broker):
    socket = broker.pend()
    for number in range(20):
        socket.send(ask(number))
    add(broker, socket, "a1", hold=True)
    for number in range(20, 40):
        socket.send(ask(number))
    socket.ping()  # answered while it is pending, and behind the messages
    assert broker.get(socket).outbox_bytes_peak < 1000
    admit(broker, socket)
    socket.send(ask(40))
    answers = [socket.receive_json() for _ in range(41)]
    assert [a["id"] for a in answers] == list(range(41))
    assert {a["error"]["code"] for a in answers} == {-32601}


def test_frames_sent_with_the_handshake_arrive_too(broker):
    pipelined = b"".join(raw.encode(raw.TEXT, ask(n).encode()) for n in (1, 2))
    socket = broker.raw_socket(broker.ticket("a1"), pipelined=pipelined)
    assert [json.loads(socket.frame().payload)["id"] for _ in (1, 2)] == [1, 2]


def test_frame_257_closes_1008(broker):
    socket = broker.pend()
    for number in range(256):
        socket.send(ask(number))
    assert socket.is_open()
    socket.send(ask(256))
    assert socket.closed()[0] == 1008


def test_every_close_hits_it_and_counts_it(broker):
    by_session, by_account, by_token, by_filter, unbound = [broker.pend() for _ in range(5)]
    add(broker, by_session, "a1", session="s1", hold=True)
    add(broker, by_account, "a2", session="s2", hold=True)
    add(broker, by_token, "a3", token="t3", hold=True)
    add(broker, by_filter, "a4", groups=["g"], hold=True)
    client = broker.client
    assert client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(token_hash="s1")).closed == 1
    assert client.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id="a2")).closed == 1
    assert client.close_sockets_for_token(pb.CloseSocketsForTokenRequest(api_token_id="t3")).closed == 1
    assert client.close_sockets_filtered(pb.CloseSocketsFilteredRequest(filter='groups:"g"')).closed == 1
    assert client.close_sockets_filtered(pb.CloseSocketsFilteredRequest(match_all=True)).closed == 1
    for socket in (by_session, by_account, by_token, by_filter, unbound):
        assert socket.closed() == REVOKED


def test_held_and_revoked_is_never_admitted(broker):
    socket = broker.pend()
    add(broker, socket, "a1", session="s1", hold=True)
    broker.client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(token_hash="s1"))
    with pytest.raises(Exception) as caught:
        admit(broker, socket)
    assert caught.value.code.name in ("NOT_FOUND", "FAILED_PRECONDITION")
    assert socket.closed() == REVOKED
    assert broker.count() == 0


def test_credential_verified_before_its_revocation_is_refused(broker):
    socket = broker.pend()
    epoch = broker.epoch
    revoked = broker.client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(token_hash="s1"))
    assert revoked.closed == 0 and revoked.epoch > epoch
    for stale in (None, epoch):
        with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
            add(broker, socket, "a1", session="s1", epoch=stale)
    with fails("INVALID_ARGUMENT", field="verified_at_epoch"):
        add(broker, socket, "a1", session="s1", epoch=revoked.epoch + 1)
    assert broker.get(socket).state == PENDING
    add(broker, socket, "a1", session="s1", epoch=revoked.epoch)
    assert broker.count() == 1


def test_client_verifies_again_when_a_revocation_came_between(broker):
    socket = broker.pend()
    calls = []

    def verify():
        calls.append(1)
        if len(calls) == 1:
            other.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id="a1"))
        return identity("a1", session="s1")

    from socketbroker import Client

    with Client(broker.control) as other:
        answer = broker.client.add_connection_verified(pb.AddConnectionRequest(connection_id=socket.id), verify)
    assert len(calls) == 2 and answer.connection.state == ADMITTED


def test_remove_closes_1000_and_leaves_no_trace(broker):
    pending, admitted = broker.pend(), broker.join("a1", session="s1")
    for socket in (pending, admitted):
        request = pb.RemoveConnectionRequest(connection_id=socket.id)
        assert broker.client.remove_connection(request).removed
        assert not broker.client.remove_connection(request).removed
        assert socket.closed()[0] == 1000
    assert not broker.client.list_revocations(pb.ListRevocationsRequest()).revocations
    broker.join("a1", session="s1")


def test_deadline_closes_4006(start_broker):
    broker = start_broker(config={"endpoints": [{"path": "/ws", "ways": ["MANUAL"], "pending_timeout": "0.3s"}]})
    unbound, held, admitted = broker.connect(), broker.pend(), broker.pend()
    add(broker, held, "a1", hold=True)
    add(broker, admitted, "a2")
    assert unbound.closed()[0] == 4006
    assert held.closed()[0] == 4006
    assert admitted.is_open() and broker.count() == 1


def test_one_that_leaves_is_gone(broker):
    socket = broker.pend()
    socket.close()
    broker.wait_connections(lambda: broker.list() == [], "an empty list")
    with fails("NOT_FOUND"):
        add(broker, socket, "a1")
