"""The stream Publish: many things to do, in order, each answered."""

import itertools
import threading
import time

import grpc
import pytest

from harness.broker import PATIENCE, identity
from harness.checks import REVOKED, fails, notification
from socketbroker import BrokerError, from_publish_error
from socketbroker.v1 import socket_broker_pb2 as pb


def to_account(account, method="note", **params):
    return pb.PublishItem(send_to_account=pb.SendToAccountRequest(
        account_id=account, message=notification(method, **params)))


def to_connection(connection_id, method="note", **params):
    return pb.PublishItem(send_to_connection=pb.SendToConnectionRequest(
        connection_id=connection_id, message=notification(method, **params)))


def broadcast(filter, method="note", **params):
    return pb.PublishItem(broadcast_filtered=pb.BroadcastFilteredRequest(
        filter=filter, message=notification(method, **params)))


def publish(broker, *items):
    """The results of the items, sent as one request."""
    (response,) = broker.client.publish([pb.PublishRequest(items=items)])
    assert len(response.results) == len(items)
    return response.results


def test_every_operation_acts_as_its_call_does(broker):
    a1 = broker.join("a1", session="s1")
    a2 = broker.join("a2", token="t2", labels={"v": "old"})
    a3, a4, a5 = broker.join("a3"), broker.join("a4"), broker.join("a5", groups=["g"])
    update = pb.UpdateConnectionRequest(connection_id=a2.id, identity=identity(labels={"v": "new"}))
    update.update_mask.paths.append("labels")
    bulk = pb.UpdateConnectionsFilteredRequest(filter='account_id = "a3"', add_groups=["late"])
    results = publish(
        broker,
        pb.PublishItem(send=pb.SendRequest(message=notification("all"))),
        to_connection(a1.id, "one"),
        to_account("a1", "account"),
        pb.PublishItem(update_connection=update),
        broadcast('labels.v = "new"', "filtered"),
        pb.PublishItem(update_connections_filtered=bulk),
        broadcast('groups:"late"', "grouped"),
        pb.PublishItem(close_sockets_for_session=pb.CloseSocketsForSessionRequest(token_hash="s1")),
        pb.PublishItem(close_sockets_for_token=pb.CloseSocketsForTokenRequest(api_token_id="t2")),
        pb.PublishItem(close_sockets_for_account=pb.CloseSocketsForAccountRequest(account_id="a3")),
        pb.PublishItem(remove_connection=pb.RemoveConnectionRequest(connection_id=a4.id)),
        pb.PublishItem(close_sockets_filtered=pb.CloseSocketsFilteredRequest(filter='groups:"g"')),
    )
    assert [result.WhichOneof("result") for result in results] == [
        "send", "send_to_connection", "send_to_account", "update_connection", "broadcast_filtered",
        "update_connections_filtered", "broadcast_filtered", "close_sockets_for_session",
        "close_sockets_for_token", "close_sockets_for_account", "remove_connection", "close_sockets_filtered"]
    assert results[0].send == pb.SendResponse(matched=5, queued=5)
    assert results[3].update_connection.connection.version == 2
    assert [results[i].broadcast_filtered.queued for i in (4, 6)] == [1, 1]
    assert results[7].close_sockets_for_session.closed == 1
    assert results[10].remove_connection.removed

    def methods(socket, count):
        return [socket.receive_json()["method"] for _ in range(count)]

    # What was sent before a close in the same stream arrives before it.
    assert methods(a1, 3) == ["all", "one", "account"] and a1.closed() == REVOKED
    assert methods(a2, 2) == ["all", "filtered"] and a2.closed() == REVOKED
    assert methods(a3, 2) == ["all", "grouped"] and a3.closed() == REVOKED
    assert methods(a4, 1) == ["all"] and a4.closed()[0] == 1000
    assert methods(a5, 1) == ["all"] and a5.closed() == REVOKED
    with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
        broker.ticket("a1", session="s1", epoch=results[7].close_sockets_for_session.epoch - 1)


@pytest.mark.parametrize("shards", [1, 3])
def test_items_are_done_in_order(start_broker, shards):
    broker = start_broker(config={"shards": shards})
    sockets = [broker.join(f"a{n}", groups=["all"]) for n in range(6)]
    numbers = itertools.count()

    def request(size):
        items = []
        for number in itertools.islice(numbers, size):
            if number % 3 == 0:
                items.append(broadcast('groups:"all"', n=number))
            else:
                items.extend(to_account(f"a{n}", n=number) for n in range(6))
        return pb.PublishRequest(items=items)

    requests = [request(size) for size in (1, 100, 0, 64, 7)]
    responses = list(broker.client.publish(requests))
    assert [len(r.results) for r in responses] == [len(r.items) for r in requests]
    for socket in sockets:
        assert [socket.receive_json()["params"]["n"] for _ in range(172)] == list(range(172))


def test_the_answer_to_a_full_request_fits(broker):
    """The largest that the API has: a thousand times a connection with all that it may carry."""
    socket = broker.join("a1", labels={f"k{n}": "x" * 200 for n in range(30)})
    update = pb.UpdateConnectionRequest(connection_id=socket.id)
    update.update_mask.paths.append("expires_at")
    (response,) = broker.client.publish([pb.PublishRequest(items=[pb.PublishItem(update_connection=update)] * 1000)])
    assert response.ByteSize() > 4 << 20
    assert {len(result.update_connection.connection.identity.labels) for result in response.results} == {30}


def error_of(call, request):
    with pytest.raises(BrokerError) as caught:
        call(request)
    return caught.value


@pytest.mark.parametrize("field, request_", [
    ("send_to_account", pb.SendToAccountRequest(message=notification())),
    ("send_to_account", pb.SendToAccountRequest(account_id="a1", namespace="nowhere", message=notification())),
    ("send_to_connection", pb.SendToConnectionRequest(connection_id="x", message=notification())),
    ("send_to_connection", pb.SendToConnectionRequest(
        connection_id="01a212f5-32af-7000-906f-8f8d374ae700", message=notification())),
    ("broadcast_filtered", pb.BroadcastFilteredRequest(filter="a = ", message=notification())),
    ("close_sockets_for_account", pb.CloseSocketsForAccountRequest()),
    ("update_connection", pb.UpdateConnectionRequest(connection_id="01a212f5-32af-7000-906f-8f8d374ae700")),
    ("remove_connection", pb.RemoveConnectionRequest(connection_id="x", request_id="y" * 129)),
])
def test_a_failed_item_has_the_error_of_its_call_and_stops_nothing(broker, field, request_):
    socket = broker.join("a1")
    before, failed, after = publish(
        broker, to_account("a1", n=1), pb.PublishItem(**{field: request_}), to_account("a1", n=2))
    error = from_publish_error(failed.error)
    expected = error_of(getattr(broker.client, field), request_)
    assert (error.code, error.message, error.reason) == (expected.code, expected.message, expected.reason)
    assert error.violations == expected.violations
    assert before.send_to_account.queued == after.send_to_account.queued == 1
    assert [socket.receive_json()["params"]["n"] for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("field, item", [
    ("include_outcomes", pb.PublishItem(send=pb.SendRequest(message=notification(), include_outcomes=True))),
    ("validate_only", pb.PublishItem(close_sockets_for_account=pb.CloseSocketsForAccountRequest(
        account_id="a1", validate_only=True))),
    ("max_connections", pb.PublishItem(close_sockets_filtered=pb.CloseSocketsFilteredRequest(
        match_all=True, max_connections=5))),
    ("await_written", pb.PublishItem(send_to_account=pb.SendToAccountRequest(
        account_id="a1", message={"text": "{}", "ttl": {"seconds": 1}}, await_written=True))),
    ("operation", pb.PublishItem()),
])
def test_what_publish_does_not_do_is_invalid(broker, field, item):
    socket = broker.join("a1")
    (result,) = publish(broker, item)
    error = from_publish_error(result.error)
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in error.violations] == [field]
    assert socket.is_open()


def test_too_many_items_end_the_stream_and_none_is_done(broker):
    socket = broker.join("a1")
    most = pb.PublishRequest(items=[to_account("a1", n=n) for n in range(1000)])
    responses = broker.client.publish([most, pb.PublishRequest(items=[to_account("a1")] * 1001), most])
    assert len(next(responses).results) == 1000
    with fails("INVALID_ARGUMENT", field="items"):
        next(responses)
    assert [socket.receive_json()["params"]["n"] for _ in range(1000)] == list(range(1000))
    publish(broker, to_account("a1", n=-1))
    assert socket.receive_json()["params"]["n"] == -1


def test_a_request_id_acts_once_in_streams_and_calls_alike(broker):
    socket = broker.join("a1")
    request = pb.SendToAccountRequest(account_id="a1", message=notification(n=1), request_id="r1")
    item = pb.PublishItem(send_to_account=request)
    first, second = publish(broker, item, item)
    assert first == second and first.send_to_account.queued == 1
    assert broker.client.send_to_account(request) == first.send_to_account
    publish(broker, to_account("a1", n=2))
    assert [socket.receive_json()["params"]["n"] for _ in range(2)] == [1, 2]


def test_a_caller_that_reads_nothing_waits_in_the_end(broker):
    # Requests and answers are large, so that what gRPC takes ahead is few of them.
    socket = broker.join("a1", labels={f"k{n}": "x" * 200 for n in range(30)})
    update = pb.UpdateConnectionRequest(connection_id=socket.id)
    update.update_mask.paths.append("expires_at")
    items = [pb.PublishItem(update_connection=update)] * 50 + [to_account("nobody", text="x" * 200_000)]
    request = pb.PublishRequest(items=items)
    taken = threading.Semaphore(0)
    enough = threading.Event()

    def requests():
        while not enough.is_set():
            taken.release()
            yield request

    responses = broker.client.publish(requests())
    next(responses)
    deadline, seen = time.monotonic() + PATIENCE, 0
    while taken.acquire(timeout=1):
        assert time.monotonic() < deadline, "the broker reads on and on"
        seen += 1
    # It reads on when its answers are read.
    for _ in range(seen - 2):
        next(responses)
    assert taken.acquire(timeout=PATIENCE), "the broker reads no further"
    enough.set()
    assert all(len(response.results) == len(items) for response in responses)


def test_a_cancelled_stream_leaves_nothing_behind(broker):
    socket = broker.join("a1")
    for n in range(20):
        responses = broker.client.publish(
            pb.PublishRequest(items=[to_account("a1", n=n)] * 100) for _ in itertools.count())
        next(responses)
        responses.close()
    publish(broker, to_account("a1", "last"))
    while socket.receive_json()["method"] != "last":
        pass


def test_connections_may_come_and_go_while_a_stream_runs(broker):
    stop = threading.Event()

    def requests():
        while not stop.is_set():
            yield pb.PublishRequest(items=[to_account("a1"), broadcast('account_id = "a1"')] * 50)

    results = []
    reader = threading.Thread(
        target=lambda: results.extend(r for response in broker.client.publish(requests()) for r in response.results))
    reader.start()
    for n in range(30):
        socket = broker.join("a1")
        socket.receive()
        if n % 2 == 0:
            socket.abort()
        else:
            broker.client.remove_connection(pb.RemoveConnectionRequest(connection_id=socket.id))
    stop.set()
    reader.join(PATIENCE)
    assert not reader.is_alive()
    assert results and not any(result.HasField("error") for result in results)
    assert any(result.send_to_account.queued for result in results)


def test_a_stream_ends_with_the_broker(start_broker):
    broker = start_broker(config={})
    end = threading.Event()

    def requests():
        yield pb.PublishRequest()
        end.wait()

    responses = broker.client.publish(requests())
    next(responses)
    broker.process.terminate()
    with pytest.raises(BrokerError):
        next(responses)
    end.set()
    assert broker.wait() == 0
