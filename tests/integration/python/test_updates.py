"""Changing labels, groups and expiry of connections, one by one and by filter."""

import time

import pytest

from harness.broker import identity
from harness.checks import fails
from socketbroker.v1 import socket_broker_pb2 as pb


def update(broker, socket, mask, *args, version=None, request_id="", **kwargs):
    request = pb.UpdateConnectionRequest(
        connection_id=socket.id, identity=identity(*args, **kwargs), expected_version=version, request_id=request_id)
    request.update_mask.paths.extend(mask)
    return broker.client.update_connection(request).connection


def update_filtered(broker, filter=None, **fields):
    return broker.client.update_connections_filtered(pb.UpdateConnectionsFilteredRequest(filter=filter, **fields))


def test_mask_says_what_is_replaced(broker):
    socket = broker.join("a1", session="s1", labels={"x": "1", "y": "1"}, groups=["g"])
    updated = update(broker, socket, ["labels"], labels={"x": "2"}, groups=["ignored"])
    assert updated.identity == identity("a1", session="s1", labels={"x": "2"}, groups=["g"])
    assert updated.version == 2
    updated = update(broker, socket, ["groups", "labels"], groups=["h", "i", "h"])
    assert updated.identity == identity("a1", session="s1", groups=["h", "i"])
    assert broker.count('groups:"i"') == 1 and broker.count('groups:"g"') == 0
    assert broker.count("labels.x:*") == 0
    assert broker.get(socket) == updated or broker.get(socket).identity == updated.identity


def test_expected_version_that_is_not_the_current_aborts(broker):
    socket = broker.join("a1")
    assert update(broker, socket, ["labels"], labels={"x": "1"}, version=1).version == 2
    with fails("ABORTED", "VERSION_MISMATCH"):
        update(broker, socket, ["labels"], labels={"x": "2"}, version=1)
    assert broker.get(socket).identity.labels["x"] == "1"
    assert update(broker, socket, ["labels"], labels={"x": "3"}, version=2).version == 3


@pytest.mark.parametrize("mask", [[], ["account_id"], ["token_hash"], ["api_token_id"], ["color"], ["labels.x"], [""]])
def test_other_masks_are_invalid(broker, mask):
    socket = broker.join("a1")
    with fails("INVALID_ARGUMENT"):
        update(broker, socket, mask, labels={"x": "1"})
    assert broker.get(socket).version == 1


@pytest.mark.parametrize("mask, values", [
    (["labels"], {"labels": {"bad key": "x"}}), (["labels"], {"labels": {"k": "v" * 257}}),
    (["labels"], {"labels": {f"k{n}": "" for n in range(65)}}), (["groups"], {"groups": [""]}),
    (["groups"], {"groups": [f"g{n}" for n in range(129)]}), (["expires_at"], {"expires_at": 5.0}),
])
def test_values_over_their_limits_are_invalid(broker, mask, values):
    socket = broker.join("a1")
    with fails("INVALID_ARGUMENT"):
        update(broker, socket, mask, **values)
    assert broker.get(socket).version == 1


def test_update_needs_a_binding_and_a_connection(broker):
    socket = broker.pend()
    with fails("FAILED_PRECONDITION", "NOT_BOUND"):
        update(broker, socket, ["labels"], labels={"x": "1"})
    socket.id = "01890a5d-ac96-774b-bcce-b302099a8057"
    with fails("NOT_FOUND"):
        update(broker, socket, ["labels"], labels={"x": "1"})


def test_repeated_request_id_acts_once(broker):
    socket = broker.join("a1")
    first = update(broker, socket, ["labels"], labels={"x": "1"}, request_id="r")
    update(broker, socket, ["labels"], labels={"x": "2"})
    assert update(broker, socket, ["labels"], labels={"x": "1"}, request_id="r") == first
    assert broker.get(socket).identity.labels["x"] == "2"


def test_in_bulk(broker):
    first = broker.join("a1", labels={"x": "1"}, groups=["old", "keep"])
    second = broker.join("a1", labels={"new": "1"}, groups=["new"])
    other, pending = broker.join("a2", groups=["old"]), broker.pend()
    answer = update_filtered(broker, 'account_id = "a1"', add_groups=["new"], remove_groups=["old"],
                             set_labels={"new": "1"}, unset_labels=["x"])
    assert (answer.matched, answer.updated, answer.over_limit) == (2, 1, 0)
    changed = broker.get(first)
    assert dict(changed.identity.labels) == {"new": "1"}
    assert sorted(changed.identity.groups) == ["keep", "new"] and changed.version == 2
    assert broker.get(second).version == 1
    assert list(broker.get(other).identity.groups) == ["old"]
    assert update_filtered(broker, match_all=True, add_groups=["all"]).matched == 3
    assert broker.get(pending).version == 0
    assert update_filtered(broker, 'account_id = "nobody"', add_groups=["all"]).matched == 0


def test_in_bulk_those_over_the_limit_are_left_alone(broker):
    full = broker.join("a1", groups=[f"g{n}" for n in range(128)])
    broker.join("a1")
    answer = update_filtered(broker, 'account_id = "a1"', add_groups=["one more"])
    assert (answer.matched, answer.updated, answer.over_limit) == (2, 1, 1)
    assert broker.get(full).version == 1


@pytest.mark.parametrize("fields", [
    {"add_groups": ["g"]}, {"filter": "", "add_groups": ["g"]}, {"match_all": False, "add_groups": ["g"]},
    {"match_all": True, "add_groups": ["g"], "remove_groups": ["g"]},
    {"match_all": True, "set_labels": {"k": "v"}, "unset_labels": ["k"]},
    {"match_all": True, "add_groups": [""]}, {"match_all": True, "set_labels": {"bad key": "v"}},
])
def test_wrong_bulk_update_is_invalid(broker, fields):
    socket = broker.join("a1")
    with fails("INVALID_ARGUMENT"):
        update_filtered(broker, **fields)
    assert broker.get(socket).version == 1


def test_expired_connection_is_closed_4005(broker):
    brief = broker.join("a1", expires_at=time.time() + 2)
    shortened, extended = broker.join("a2"), broker.join("a3", expires_at=time.time() + 2)
    update(broker, shortened, ["expires_at"], expires_at=time.time() + 2)
    update(broker, extended, ["expires_at"])
    assert not broker.get(extended).identity.HasField("expires_at")
    for socket in (brief, shortened):
        assert socket.closed()[0] == 4005
    # When this one is closed, the time of the extended one is over.
    assert broker.join("a4", expires_at=time.time() + 1).closed()[0] == 4005
    assert extended.is_open() and broker.count() == 1
