"""Closing by session, account, token and filter, at once and for good."""

import concurrent.futures
import json

import pytest

from harness import raw
from harness.checks import REVOKED, fails, notification, refused
from harness.revoke import close_account, close_filtered, close_session, close_token, revocations
from harness.sockets import Refused
from socketbroker.v1 import socket_broker_pb2 as pb


def test_session_close_hits_every_connection_of_the_session_and_no_other(broker):
    hit = [broker.join("a1", session="s1"), broker.join("a1", session="s1")]
    spared = [broker.join("a1", session="s2"), broker.join("a1", token="t1"), broker.join("a1")]
    assert close_session(broker, "nobody").closed == 0
    assert close_session(broker, "s1").closed == 2
    assert broker.count() == 3
    for socket in hit:
        assert socket.closed() == REVOKED
    broker.client.send(pb.SendRequest(message=notification("still")))
    for socket in spared:
        assert socket.receive_json()["method"] == "still"


def test_account_close_hits_session_token_and_daemon_connections(broker):
    session, token, daemon = broker.join("a1", session="s1"), broker.join("a1", token="t1"), broker.join("a1")
    other = broker.join("a2", session="s2")
    assert close_account(broker, "a1").closed == 3
    for socket in (session, token, daemon):
        assert socket.closed() == REVOKED
    assert other.is_open() and broker.count() == 1


def test_daemon_connection_is_reached_by_its_account_only(broker):
    daemon = broker.join("a1")
    assert broker.count("credential = DAEMON") == 1
    for key in ("a1", "s1", daemon.id):
        assert close_session(broker, key).closed == 0
        assert close_token(broker, key).closed == 0
    assert daemon.is_open()
    assert close_account(broker, "a1").closed == 1


def test_token_close_leaves_sessions_and_other_tokens(broker):
    hit = broker.join("a1", token="t1")
    spared = [broker.join("a1", token="t2"), broker.join("a1", session="s1"), broker.join("a1", session="t1")]
    assert close_token(broker, "t1").closed == 1
    assert hit.closed() == REVOKED
    assert all(socket.is_open() for socket in spared) and broker.count() == 3


def test_nothing_is_closed_twice(broker):
    socket = broker.raw_socket(broker.ticket("a1", session="s1"))
    assert close_session(broker, "s1").closed == 1
    # The client answers nothing: the connection is still closing.
    assert close_session(broker, "s1").closed == 0
    assert close_account(broker, "a1").closed == 0
    assert close_filtered(broker, match_all=True).closed == 0
    frames = socket.frames()
    assert [f.opcode for f in frames] == [raw.CLOSE]
    assert (frames[0].close_code, frames[0].close_reason) == REVOKED


def test_socket_is_gone_when_the_client_does_nothing(broker):
    broker.raw_socket(broker.ticket("a1", session="s1"))
    assert close_session(broker, "s1").closed == 1
    assert broker.count() == 0
    broker.wait_connections(lambda: broker.list() == [], "the socket to be gone")


def test_nothing_that_the_client_sends_after_it_is_answered(broker):
    socket = broker.raw_socket(broker.ticket("a1", session="s1"))
    close_session(broker, "s1")
    ask = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "work"}).encode()
    try:
        for _ in range(3):
            socket.send(raw.TEXT, ask)
        socket.send(raw.PING, b"x")
    except ConnectionError:
        pass
    assert [f.opcode for f in socket.frames()] == [raw.CLOSE]


@pytest.mark.parametrize("key", [None, ""])
def test_absent_or_empty_key_is_invalid_and_closes_nothing(broker, key):
    sockets = [broker.join("a1"), broker.join("a1", session="s1"), broker.join("a1", token="t1")]
    with fails("INVALID_ARGUMENT", field="token_hash"):
        close_session(broker, key)
    with fails("INVALID_ARGUMENT", field="account_id"):
        close_account(broker, key)
    with fails("INVALID_ARGUMENT", field="api_token_id"):
        close_token(broker, key)
    with fails("INVALID_ARGUMENT", field="keep_token_hash"):
        close_account(broker, "a1", keep_token_hash="")
    assert all(socket.is_open() for socket in sockets)
    assert revocations(broker) == []


def test_ticket_from_before_is_refused_and_one_from_after_is_welcome(broker):
    keys = [{"session": "s1"}, {"token": "t1"}, {}]
    before = [broker.ticket("a1", **key) for key in keys]
    epoch = broker.epoch
    answer = close_account(broker, "a1")
    assert answer.closed == 0 and answer.epoch > epoch and answer.revocation_id
    for ticket in before:
        with refused(401):
            broker.connect(ticket)
    for key in keys:
        with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
            broker.ticket("a1", epoch=epoch, **key)
        broker.connect(broker.ticket("a1", epoch=answer.epoch, **key))
    assert broker.count() == 3


def test_no_handshake_slips_past_a_revocation(broker):
    def connect(ticket):
        try:
            return broker.connect(ticket)
        except Refused as refusal:
            assert refusal.status == 401
            return None

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            epoch = broker.epoch
            tickets = [broker.ticket("a1", session="s1", epoch=epoch) for _ in range(60)]
            attempts = [pool.submit(connect, ticket) for ticket in tickets]
            broker.wait_connections(lambda: broker.count() >= 10, "the first of them")
            closed = close_account(broker, "a1").closed
            assert broker.count() == 0
            sockets = [attempt.result() for attempt in attempts]
            assert broker.count() == 0
            admitted = [socket for socket in sockets if socket is not None]
            assert len(admitted) == closed
            assert all(socket.closed() == REVOKED for socket in admitted)


@pytest.mark.parametrize("key, close", [({"session": "k"}, close_session), ({"token": "k"}, close_token)])
def test_revocation_of_a_key_refuses_its_tickets_only(broker, key, close):
    before, other = broker.ticket("a1", **key), broker.ticket("a1", session="other")
    close(broker, "k")
    with refused(401):
        broker.connect(before)
    broker.connect(other)


def test_keep_token_hash_spares_that_session(broker):
    kept, other, daemon = broker.join("a1", session="keep"), broker.join("a1", session="s1"), broker.join("a1")
    kept_ticket, other_ticket = broker.ticket("a1", session="keep"), broker.ticket("a1", session="s1")
    assert close_account(broker, "a1", keep_token_hash="keep").closed == 2
    assert other.closed() == REVOKED and daemon.closed() == REVOKED
    assert kept.is_open()
    with refused(401):
        broker.connect(other_ticket)
    broker.connect(kept_ticket)
    assert broker.count() == 2
    assert revocations(broker)[0].keep_token_hash == "keep"


def test_validate_only_counts_and_does_nothing(broker):
    sockets = [broker.join("a1", session="s1"), broker.join("a1", token="t1")]
    epoch = broker.epoch
    for answer, closed in (
        (close_session(broker, "s1", validate_only=True), 1),
        (close_account(broker, "a1", validate_only=True), 2),
        (close_token(broker, "t1", validate_only=True), 1),
        (close_filtered(broker, 'account_id = "a1"', validate_only=True), 2),
        (close_filtered(broker, 'account_id = "a1"', fence=True, fence_ttl=60, validate_only=True), 2),
    ):
        assert answer.closed == closed and answer.revocation_id == ""
    assert all(socket.is_open() for socket in sockets)
    assert revocations(broker) == [] and broker.epoch == epoch


def test_exclude_connection_ids_are_left_open(broker):
    sockets = [broker.join("a1", session="s1") for _ in range(3)]
    assert close_session(broker, "s1", exclude_connection_ids=[sockets[1].id]).closed == 2
    assert sockets[1].is_open()
    assert close_account(broker, "a1", exclude_connection_ids=[sockets[1].id]).closed == 0
    assert close_filtered(broker, match_all=True, exclude_connection_ids=[sockets[1].id]).closed == 0
    assert sockets[1].is_open() and broker.count() == 1


def test_reply_then_close_with_drain_for(broker):
    socket = broker.join("a1", session="s1")
    broker.client.send_to_connection(
        pb.SendToConnectionRequest(connection_id=socket.id, message=notification("reply")))
    request = pb.CloseSocketsForSessionRequest(token_hash="s1")
    request.drain_for.FromSeconds(2)
    assert broker.client.close_sockets_for_session(request).closed == 1
    assert socket.receive_json()["method"] == "reply"
    assert socket.closed() == REVOKED


def queue_up(broker, count=3):
    """A client that reads nothing, and what is queued for it."""
    socket = broker.raw_socket(broker.ticket("slow", session="s1"), receive_buffer=4096)
    text = json.dumps({"jsonrpc": "2.0", "method": "big", "params": ["x" * 900_000]})
    message = notification()
    message.text = text
    for _ in range(count):
        answer = broker.client.send_to_account(pb.SendToAccountRequest(account_id="slow", message=message))
        assert answer.queued == 1
    return socket, len(text) * count


def payload_bytes(frames):
    return sum(len(f.payload) for f in frames if f.opcode in (0, raw.TEXT))


def test_drain_for_writes_what_was_queued(broker):
    socket, size = queue_up(broker)
    request = pb.CloseSocketsForSessionRequest(token_hash="s1")
    request.drain_for.FromSeconds(5)
    assert broker.client.close_sockets_for_session(request).closed == 1
    assert broker.count() == 0
    frames = socket.frames()
    assert payload_bytes(frames) == size
    assert frames[-1].opcode == raw.CLOSE and frames[-1].close_code == 4001


def test_without_drain_for_what_was_queued_is_dropped(broker):
    socket, size = queue_up(broker)
    assert close_session(broker, "s1").closed == 1
    assert payload_bytes(socket.frames()) < size / 2


def test_later_revocation_cuts_a_drain(broker):
    socket, size = queue_up(broker)
    request = pb.CloseSocketsForSessionRequest(token_hash="s1")
    request.drain_for.FromSeconds(5)
    broker.client.close_sockets_for_session(request)
    assert close_account(broker, "slow").closed == 0
    assert payload_bytes(socket.frames()) < size / 2


def test_drain_for_has_a_limit(broker):
    request = pb.CloseSocketsForSessionRequest(token_hash="s1")
    request.drain_for.FromMilliseconds(5001)
    with fails("INVALID_ARGUMENT", field="drain_for"):
        broker.client.close_sockets_for_session(request)


def test_filtered_close_with_a_guard(broker):
    sockets = [broker.join("a1", groups=["g"]) for _ in range(3)]
    with fails("FAILED_PRECONDITION", "TOO_MANY_CONNECTIONS"):
        close_filtered(broker, 'groups:"g"', max_connections=2)
    with fails("FAILED_PRECONDITION", "TOO_MANY_CONNECTIONS"):
        close_filtered(broker, 'groups:"g"', max_connections=2, fence=True, fence_ttl=60)
    assert all(socket.is_open() for socket in sockets) and revocations(broker) == []
    assert close_filtered(broker, 'groups:"g"', max_connections=3).closed == 3
    assert all(socket.closed() == REVOKED for socket in sockets)


def test_namespaces_are_isolated_but_a_key_is_revoked_in_all(start_broker):
    broker = start_broker(config={"endpoints": [
        {"path": "/ws", "namespace": "default"}, {"path": "/other", "namespace": "other"}]})

    def join_both():
        return broker.join("a1", session="s1"), broker.join("a1", session="s1", path="/other", namespace="other")

    here, there = join_both()
    assert close_filtered(broker, 'account_id = "a1"').closed == 1
    assert here.closed() == REVOKED and there.is_open()
    assert close_session(broker, "s1", namespace="default").closed == 0
    assert close_session(broker, "s1").closed == 1
    assert there.closed() == REVOKED

    here, there = join_both()
    assert close_account(broker, "a1", namespace="other").closed == 1
    assert there.closed() == REVOKED and here.is_open()
    assert close_filtered(broker, 'account_id = "a1"', all_namespaces=True).closed == 1


def test_repeated_request_id_gets_the_first_answer(broker):
    broker.join("a1", session="s1")
    first = close_session(broker, "s1", request_id="r1")
    late = broker.join("a1", session="s1")
    assert close_session(broker, "s1", request_id="r1") == first
    assert first.closed == 1 and late.is_open() and len(revocations(broker)) == 1
    with fails("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        close_session(broker, "s2", request_id="r1")


def test_a_stuck_client_does_not_stop_the_rest(broker):
    stuck, _ = queue_up(broker)
    others = [broker.join("slow") for _ in range(20)]
    assert close_account(broker, "slow").closed == 21
    assert all(socket.closed() == REVOKED for socket in others)
    stuck.abort()
