"""What a caller reaches: its namespaces, and what its filter matches there."""

import signal

import pytest
from harness.broker import identity
from harness.callers import caller, configured, key_of
from harness.checks import fails, notification, refused
from socketbroker.v1 import attach_pb2, connection_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

ENDPOINTS = [
    {"path": "/ws", "ways": ["TICKET", "MANUAL"]},
    {"path": "/blue", "namespace": "blue", "ways": ["TICKET", "MANUAL"]},
]
FILTER = 'labels.tenant = "acme"'
ACME, OTHER = {"tenant": "acme"}, {"tenant": "other"}


@pytest.fixture
def broker(start_broker):
    """`acme` may do everything to its tenant, `blue` in its namespace."""
    roles = ("BIND", "REVOKE", "SEND", "READ", "LISTEN", "ADMIN")
    return start_broker(
        config=configured(caller("root", "ADMIN"), caller("acme", *roles, filter=FILTER),
                          caller("blue", *roles, namespaces=["blue"]), endpoints=ENDPOINTS),
        api_key=key_of("root"))


@pytest.fixture
def acme(broker):
    return broker.client_with(key_of("acme"))


@pytest.fixture
def blue(broker):
    return broker.client_with(key_of("blue"))


@pytest.fixture
def both(broker):
    """Two connections of one account: inside of acme's reach, and outside."""
    return (broker.join("a1", session="s1", labels=ACME, groups=["g"]),
            broker.join("a1", session="s2", labels=OTHER, groups=["g"]))


SENDS = {
    "send": pb.SendRequest(),
    "send_to_account": pb.SendToAccountRequest(account_id="a1"),
    "broadcast_filtered": pb.BroadcastFilteredRequest(filter='account_id = "a1"'),
}


@pytest.mark.parametrize("method", SENDS)
def test_sends_stop_at_the_filter(acme, both, method):
    request = type(SENDS[method])()
    request.CopyFrom(SENDS[method])
    request.message.CopyFrom(notification("x"))
    response = getattr(acme, method)(request)
    assert (response.matched, response.queued) == (1, 1)
    assert both[0].receive_json()["method"] == "x"


def test_counts_lists_and_looks_stop_at_the_filter(broker, acme, both):
    assert broker.count() == 2
    assert acme.count_connections(pb.CountConnectionsRequest()).count == 1
    assert acme.count_connections(pb.CountConnectionsRequest(filter="NOT groups:nope")).count == 1
    listed = acme.list_connections(pb.ListConnectionsRequest()).connections
    assert [c.connection_id for c in listed] == [both[0].id]
    acme.get_connection(pb.GetConnectionRequest(connection_id=both[0].id))
    (space,) = [n for n in acme.get_broker_info(pb.GetBrokerInfoRequest()).namespaces if n.namespace == "default"]
    assert space.admitted == 1


def test_a_connection_outside_of_the_filter_is_none(broker, acme, both):
    outside = both[1].id
    mask = {"paths": ["groups"]}
    with fails("NOT_FOUND", "CONNECTION_NOT_FOUND"):
        acme.get_connection(pb.GetConnectionRequest(connection_id=outside))
    with fails("NOT_FOUND", "CONNECTION_NOT_FOUND"):
        acme.send_to_connection(pb.SendToConnectionRequest(connection_id=outside, message=notification()))
    with fails("NOT_FOUND", "CONNECTION_NOT_FOUND"):
        acme.update_connection(pb.UpdateConnectionRequest(connection_id=outside, update_mask=mask))
    with fails("NOT_FOUND", "CONNECTION_NOT_FOUND"):
        acme.admit_connection(pb.AdmitConnectionRequest(connection_id=outside))
    with fails("NOT_FOUND", "CONNECTION_NOT_FOUND"):
        acme.add_connection(pb.AddConnectionRequest(connection_id=outside, identity=identity("a1", labels=ACME)))
    assert not acme.remove_connection(pb.RemoveConnectionRequest(connection_id=outside)).removed
    assert both[1].is_open()
    assert acme.remove_connection(pb.RemoveConnectionRequest(connection_id=both[0].id)).removed


def test_bindings_and_tickets_are_of_the_filter(broker, acme):
    pending = broker.pend()
    with fails("PERMISSION_DENIED", "OUT_OF_REACH"):
        acme.add_connection(pb.AddConnectionRequest(connection_id=pending.id, identity=identity("a1", labels=OTHER)))
    acme.add_connection(pb.AddConnectionRequest(connection_id=pending.id, identity=identity("a1", labels=ACME)))
    ticket = pb.CreateTicketRequest(identity=identity("a1"), verified_at_epoch=broker.epoch)
    with fails("PERMISSION_DENIED", "OUT_OF_REACH"):
        acme.create_ticket(ticket)
    ticket.identity.CopyFrom(identity("a1", labels=ACME))
    assert broker.connect(acme.create_ticket(ticket).ticket).is_open()


def test_no_update_leaves_the_filter(broker, acme, both):
    leave = pb.UpdateConnectionRequest(
        connection_id=both[0].id, identity=identity(labels=OTHER), update_mask={"paths": ["labels"]})
    with fails("PERMISSION_DENIED", "OUT_OF_REACH"):
        acme.update_connection(leave)
    leave.identity.labels.update({"tenant": "acme", "more": "1"})
    assert acme.update_connection(leave).connection.version == 2
    third = broker.join("a2", labels=ACME)
    for change in ({"set_labels": {"tenant": "other"}}, {"unset_labels": ["tenant"]}):
        bulk = pb.UpdateConnectionsFilteredRequest(match_all=True, **change)
        response = acme.update_connections_filtered(bulk)
        assert (response.matched, response.updated, response.out_of_reach) == (2, 0, 2)
    response = acme.update_connections_filtered(pb.UpdateConnectionsFilteredRequest(match_all=True, add_groups=["x"]))
    assert (response.matched, response.updated, response.out_of_reach) == (2, 2, 0)
    assert broker.get(third).identity.labels["tenant"] == "acme"
    assert list(broker.get(both[1]).identity.groups) == ["g"]


CLOSES = {
    "close_sockets_for_session": pb.CloseSocketsForSessionRequest(token_hash="s1"),
    "close_sockets_for_account": pb.CloseSocketsForAccountRequest(account_id="a1"),
    "close_sockets_filtered": pb.CloseSocketsFilteredRequest(filter='groups:"g"', fence=True),
}


@pytest.mark.parametrize("method", CLOSES)
def test_closes_and_their_fences_stop_at_the_filter(broker, acme, method):
    epoch = broker.epoch
    inside = broker.join("a1", session="s1", labels=ACME, groups=["g"])
    # The same keys, another tenant.
    outside = broker.join("a1", session="s1", labels=OTHER, groups=["g"])
    request = type(CLOSES[method])()
    request.CopyFrom(CLOSES[method])
    if request.DESCRIPTOR.name == "CloseSocketsFilteredRequest":
        request.fence_ttl.FromSeconds(60)
    assert getattr(acme, method)(request).closed == 1
    assert inside.closed()[0] == 4001
    assert outside.is_open()
    # Verified before the revocation: refused inside, welcome outside.
    who = dict(session="s1", groups=["g"], epoch=epoch)
    with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
        broker.ticket("a1", labels=ACME, **who)
    broker.connect(broker.ticket("a1", labels=OTHER, **who))
    (listed,) = broker.client.list_revocations(pb.ListRevocationsRequest()).revocations
    assert listed.within.comparison.value == "acme"


def test_a_token_close_stops_at_the_filter(broker, acme):
    inside, outside = broker.join("a1", token="t1", labels=ACME), broker.join("a1", token="t1", labels=OTHER)
    assert acme.close_sockets_for_token(pb.CloseSocketsForTokenRequest(api_token_id="t1")).closed == 1
    assert inside.closed()[0] == 4001 and outside.is_open()


def test_revocations_of_others_are_not_seen_and_not_lifted(broker, acme, blue):
    mine = acme.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id="a1")).revocation_id
    theirs = broker.client.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id="a1")).revocation_id
    blues = blue.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id="a1")).revocation_id

    def seen(client):
        return [r.revocation_id for r in client.list_revocations(pb.ListRevocationsRequest()).revocations]

    assert seen(broker.client) == [mine, theirs, blues]
    assert (seen(acme), seen(blue)) == ([mine], [blues])
    for client in (acme, blue):
        with fails("NOT_FOUND", "REVOCATION_NOT_FOUND"):
            client.lift_revocation(pb.LiftRevocationRequest(revocation_id=theirs))
    acme.lift_revocation(pb.LiftRevocationRequest(revocation_id=mine))


def test_a_watch_does_not_show_what_left(broker, acme):
    socket = broker.join("a1", labels=ACME)
    broker.join("a2", labels=OTHER)
    watch = acme.watch_connections(pb.WatchConnectionsRequest())
    assert next(watch).added.connection_id == socket.id
    assert next(watch).HasField("snapshot_end")
    broker.join("a3", labels=OTHER)
    moved = identity(labels={"tenant": "other", "secret": "x"})
    broker.client.update_connection(pb.UpdateConnectionRequest(
        connection_id=socket.id, identity=moved, update_mask={"paths": ["labels"]}))
    event = next(watch)
    assert event.removed.reason == pb.RemovedConnection.REASON_LEFT_FILTER
    assert event.removed.connection.identity.labels == {"tenant": "acme"}
    watch.cancel()


NAMESPACED = {
    "send": pb.SendRequest(message=notification()),
    "send_to_account": pb.SendToAccountRequest(account_id="a1", message=notification()),
    "broadcast_filtered": pb.BroadcastFilteredRequest(match_all=True, message=notification()),
    "count_connections": pb.CountConnectionsRequest(),
    "list_connections": pb.ListConnectionsRequest(),
    "create_ticket": pb.CreateTicketRequest(identity=connection_pb2.Identity(account_id="a1"), verified_at_epoch=1),
    "update_connections_filtered": pb.UpdateConnectionsFilteredRequest(match_all=True, add_groups=["x"]),
    "close_sockets_for_account": pb.CloseSocketsForAccountRequest(account_id="a1"),
    "close_sockets_for_session": pb.CloseSocketsForSessionRequest(token_hash="s1"),
    "close_sockets_for_token": pb.CloseSocketsForTokenRequest(api_token_id="t1"),
    "close_sockets_filtered": pb.CloseSocketsFilteredRequest(match_all=True),
    "list_revocations": pb.ListRevocationsRequest(),
    "watch_connections": pb.WatchConnectionsRequest(),
}


@pytest.mark.parametrize("method", NAMESPACED)
def test_another_namespace_is_denied_whether_or_not_it_exists(blue, method):
    for namespace in ("default", "nowhere"):
        request = type(NAMESPACED[method])()
        request.CopyFrom(NAMESPACED[method])
        request.namespace = namespace
        with fails("PERMISSION_DENIED", "NAMESPACE_OUT_OF_REACH"):
            answer = getattr(blue, method)(request)
            if method == "watch_connections":
                next(answer)


def test_closes_by_key_without_a_namespace_are_for_all_that_is_reached(broker, blue):
    epoch = broker.epoch
    mine, theirs = broker.join("a1", path="/blue", namespace="blue"), broker.join("a1")
    assert blue.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id="a1")).closed == 1
    assert mine.closed()[0] == 4001 and theirs.is_open()
    with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
        broker.ticket("a1", namespace="blue", epoch=epoch)
    broker.ticket("a1", epoch=epoch)
    again = broker.join("a2", path="/blue", namespace="blue")
    assert blue.close_sockets_filtered(pb.CloseSocketsFilteredRequest(match_all=True, all_namespaces=True)).closed == 1
    assert again.closed()[0] == 4001 and theirs.is_open()


def test_by_id_another_namespace_is_none(broker, blue):
    theirs = broker.join("a1")
    with fails("NOT_FOUND"):
        blue.get_connection(pb.GetConnectionRequest(connection_id=theirs.id))
    with fails("NOT_FOUND"):
        blue.add_connection(pb.AddConnectionRequest(connection_id=broker.pend().id, identity=identity("a1")))
    info = blue.get_broker_info(pb.GetBrokerInfoRequest())
    assert [n.namespace for n in info.namespaces] == ["blue"]
    assert [e.path for e in info.endpoints] == ["/blue"]


def test_a_ticket_of_one_namespace_is_none_in_another(broker, blue):
    ticket = blue.create_ticket(pb.CreateTicketRequest(
        namespace="blue", identity=identity("a1"), verified_at_epoch=broker.epoch)).ticket
    with refused(401):
        broker.connect(ticket)
    assert broker.connect(ticket, path="/blue").is_open()


def test_attached_it_hears_of_what_the_filter_matches_and_judges_nobody(broker, acme):
    credit = attach_pb2.AttachCredit(handshakes=10, events=10)
    with acme.attach(attach_pb2.AttachStart(match_all=True, credit=credit)) as stream:
        assert next(stream).WhichOneof("message") == "started"
        broker.join("a1", labels=OTHER)
        inside = broker.join("a2", labels=ACME)
        assert next(stream).connection_admitted.connection.connection_id == inside.id
        # What it becomes outside of the filter is not shown.
        change = pb.UpdateConnectionRequest(connection_id=inside.id)
        change.update_mask.paths.append("labels")
        change.identity.labels.update(OTHER)
        broker.client.update_connection(change)
        assert dict(next(stream).connection_updated.connection.identity.labels) == ACME
    with fails("PERMISSION_DENIED", "OUT_OF_REACH"), acme.attach(
            attach_pb2.AttachStart(handshakes=True, credit=credit)) as stream:
        next(stream)
    (denied,) = broker.wait_log(
        lambda: [e for e in broker.events("audit") if e["outcome"] == "PERMISSION_DENIED"], "the denial")
    assert (denied["caller"], denied["method"]) == ("acme", "Attach")


def test_a_watch_of_another_namespace_is_denied_and_audited(broker, acme, blue):
    with fails("PERMISSION_DENIED", "NAMESPACE_OUT_OF_REACH"), blue.watch_connections(
            pb.WatchConnectionsRequest(namespace="default")) as watch:
        next(watch)
    denied = broker.wait_for_log("audit")
    assert (denied["caller"], denied["method"], denied["outcome"]) == ("blue", "WatchConnections", "PERMISSION_DENIED")


def test_streams_end_when_their_caller_reaches_something_else(broker, acme, blue):
    watches = [client.watch_connections(pb.WatchConnectionsRequest(namespace=namespace, match_all=True))
               for client, namespace in ((acme, "default"), (blue, "blue"))]
    for watch in watches:
        assert next(watch).WhichOneof("event") == "snapshot_end"
    roles = ("BIND", "REVOKE", "SEND", "READ", "LISTEN", "ADMIN")
    broker.write_config(configured(
        caller("root", "ADMIN"), caller("acme", *roles, filter='labels.tenant = "other"'),
        caller("blue", *roles, namespaces=["blue"]), endpoints=ENDPOINTS))
    broker.signal(signal.SIGHUP)
    broker.wait_for_log("reloaded")
    # Each is looked at with its next event.
    broker.join("a1", labels=ACME)
    with fails("ABORTED", "CALLER_CHANGED"):
        next(watches[0])
    for account in ("a2", "a3"):
        broker.join(account, namespace="blue", path="/blue")
        assert next(watches[1]).WhichOneof("event") is not None
