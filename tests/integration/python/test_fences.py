"""What a revocation refuses afterwards, until when, and how it is listed and lifted."""

import base64
import hashlib

import pytest

from harness.broker import identity, wait_until
from harness.checks import REVOKED, fails, refused
from harness.revoke import close_account, close_filtered, close_session, close_token, revocations
from socketbroker.v1 import connection_pb2, filter_pb2
from socketbroker.v1 import socket_broker_pb2 as pb


def test_filtered_close_without_a_fence_refuses_nobody(broker):
    ticket = broker.ticket("a1", groups=["g"])
    assert close_filtered(broker, 'groups:"g"').revocation_id == ""
    broker.connect(ticket)


def test_filter_fence_refuses_until_lifted(broker):
    hit, spared = broker.join("a1", labels={"v": "1"}), broker.join("a2", labels={"v": "2"})
    ticket = broker.ticket("a3", labels={"v": "1"})
    answer = close_filtered(broker, 'labels.v = "1"', fence=True, fence_ttl=60)
    assert answer.closed == 1 and hit.closed() == REVOKED
    with refused(401):
        broker.connect(ticket)
    with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
        broker.ticket("a3", labels={"v": "1"})
    broker.join("a3", labels={"v": "3"})

    # An update that makes a connection match closes it.
    update = pb.UpdateConnectionRequest(connection_id=spared.id, identity=identity(labels={"v": "1"}))
    update.update_mask.paths.append("labels")
    updated = broker.client.update_connection(update).connection
    assert updated.state == connection_pb2.CONNECTION_STATE_CLOSING
    assert spared.closed() == REVOKED

    lifted = broker.client.lift_revocation(pb.LiftRevocationRequest(revocation_id=answer.revocation_id))
    assert lifted.revocation.revocation_id == answer.revocation_id
    broker.join("a3", labels={"v": "1"})
    with fails("NOT_FOUND"):
        broker.client.lift_revocation(pb.LiftRevocationRequest(revocation_id=answer.revocation_id))


def test_filter_fence_ends_with_its_ttl(broker):
    close_filtered(broker, 'account_id = "a1"', fence=True, fence_ttl=2)
    with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
        broker.ticket("a1")
    wait_until(lambda: revocations(broker) == [], "the fence to end")
    broker.join("a1")


@pytest.mark.parametrize("fields", [
    {}, {"filter": ""}, {"match_all": False}, {"filter": "nonsense = 1"},
    {"filter": 'account_id = "a1"', "fence": True},
    {"filter": 'connection_id = "x"', "fence": True, "fence_ttl": 60},
    {"filter": 'connect_time > "2020-01-01T00:00:00Z"', "fence": True, "fence_ttl": 60},
    {"match_all": True, "namespace": "default", "all_namespaces": True},
    {"match_all": True, "namespace": "nowhere"},
    {"filter": 'account_id = "a1"', "fence": True, "fence_ttl": 31 * 86400},
])
def test_wrong_filtered_close_is_invalid_and_closes_nothing(broker, fields):
    socket = broker.join("a1")
    with fails("INVALID_ARGUMENT"):
        close_filtered(broker, **fields)
    assert socket.is_open() and revocations(broker) == []


def test_block_for_refuses_whenever_it_was_verified(broker):
    request = pb.CloseSocketsForAccountRequest(account_id="a1")
    request.block_for.FromSeconds(60)
    answer = broker.client.close_sockets_for_account(request)
    with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
        broker.ticket("a1")
    assert revocations(broker)[0].HasField("block_until")
    broker.client.lift_revocation(pb.LiftRevocationRequest(revocation_id=answer.revocation_id))
    broker.join("a1")


@pytest.mark.parametrize("position", [b"", b"x", b"1,2"])
def test_forged_page_token_is_refused(broker, position):
    """The hash of a token is no secret: whoever knows how can make one."""
    digest = hashlib.sha256(b"revocations *\0" + position).digest()[:8]
    token = base64.urlsafe_b64encode(digest + position).decode()
    with fails("INVALID_ARGUMENT", field="page_token"):
        broker.client.list_revocations(pb.ListRevocationsRequest(page_token=token))


def test_a_page_of_revocations_is_not_longer_than_clients_take(broker):
    filter = "account_id IN (" + ", ".join(f'"{n}-{"x" * 200}"' for n in range(200)) + ")"
    for _ in range(110):
        close_filtered(broker, filter, fence=True, fence_ttl=60)
    request, found = pb.ListRevocationsRequest(page_size=1000), 0
    while found == 0 or request.page_token:
        page = broker.client.list_revocations(request)
        assert page.revocations and page.ByteSize() < 4 << 20
        found += len(page.revocations)
        request.page_token = page.next_page_token
    assert found == 110 and found * len(filter) > 4 << 20


def test_revocations_are_listed_oldest_first_in_pages(broker):
    close_session(broker, "s1")
    close_account(broker, "a1", namespace="default")
    close_token(broker, "t1")
    close_filtered(broker, 'labels.v = "1"', fence=True, fence_ttl=60)
    found, request = [], pb.ListRevocationsRequest(page_size=1)
    while True:
        page = broker.client.list_revocations(request)
        assert len(page.revocations) <= 1
        found += page.revocations
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert [r.WhichOneof("target") for r in found] == ["token_hash", "account_id", "api_token_id", "filter_expr"]
    assert (found[0].token_hash, found[1].account_id, found[2].api_token_id) == ("s1", "a1", "t1")
    assert found[3].filter_expr.comparison == filter_pb2.FilterComparison(
        field="labels.v", op=filter_pb2.FilterComparison.OPERATOR_EQ, value="1")
    assert [r.epoch for r in found] == sorted({r.epoch for r in found})
    assert list(found[1].namespaces) == ["default"] and not found[0].namespaces
    for revocation in found:
        assert revocation.HasField("create_time") and revocation.HasField("expire_time")


def test_lifted_revocation_refuses_no_longer_and_closed_stays_closed(broker):
    socket, ticket = broker.join("a1", session="s1"), broker.ticket("a1", session="s1")
    answer = close_session(broker, "s1")
    broker.client.lift_revocation(pb.LiftRevocationRequest(revocation_id=answer.revocation_id))
    broker.connect(ticket)
    assert socket.closed() == REVOKED
