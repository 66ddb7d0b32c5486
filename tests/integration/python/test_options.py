"""Messages that expire, that give way to a slow client, that spare some, and that tell how they ended."""

import concurrent.futures
import json
import time

import grpc
import pytest

from harness.broker import PATIENCE, wait_until
from harness.checks import fails, notification
from socketbroker import BrokerError
from socketbroker.v1 import message_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

WRITTEN, EXPIRED, GONE = (message_pb2.SEND_OUTCOME_WRITTEN, message_pb2.SEND_OUTCOME_EXPIRED,
                          message_pb2.SEND_OUTCOME_GONE)
DROPPED = message_pb2.SEND_OUTCOME_DROPPED_SLOW


def options(method, ttl=None, policy=None, key="", **params):
    message = notification(method, **params)
    if ttl is not None:
        message.ttl.FromMilliseconds(int(ttl * 1000))
    if policy is not None:
        message.slow_policy = message_pb2.SlowPolicy.Value("SLOW_POLICY_" + policy)
    message.conflation_key = key
    return message


def to_account(broker, account, message, timeout=None, **fields):
    request = pb.SendToAccountRequest(account_id=account, message=message, **fields)
    return broker.client.send_to_account(request, timeout=timeout)


class Slow:
    """A client that reads nothing until it is told to, and has more before it than the kernels may still take."""

    def __init__(self, broker, account):
        self._broker, self._account = broker, account
        self._reader = broker.raw_socket(broker.ticket(account), receive_buffer=4096)
        self.id = broker.list(filter=f'account_id = "{account}"')[0].connection_id
        while self.outbox() < 200_000:
            to_account(broker, account, notification("jam", x="x" * 300_000))

    def outbox(self):
        request = pb.GetConnectionRequest(connection_id=self.id)
        return self._broker.client.get_connection(request).connection.outbox_bytes

    def methods(self):
        """Of all that it was sent, but for what is in its way."""
        to_account(self._broker, self._account, notification("end"))
        result, payload = [], b""
        while not result or result[-1] != "end":
            frame = self._reader.frame()
            payload += frame.payload
            if frame.fin:
                result.append(json.loads(payload)["method"])
                payload = b""
        return [method for method in result[:-1] if method != "jam"]


def queued(broker):
    """How many messages outboxes have taken."""
    return broker.metric("messages_total", direction="out")


@pytest.fixture
def slow(broker):
    return Slow(broker, "slow")


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(4) as result:
        yield result


def test_what_may_be_dropped_closes_nobody(broker, slow):
    quick = broker.join("quick")
    sent = 0
    while True:
        answer = broker.client.send(pb.SendRequest(
            message=options(f"m{sent}", policy="DROP", x="x" * 100_000), include_outcomes=True))
        assert answer.matched == answer.queued + answer.dropped_slow == 2
        assert quick.receive_json()["method"] == f"m{sent}"
        if answer.dropped_slow:
            break
        sent += 1
    assert sent > 1
    assert {o.connection_id: o.outcome for o in answer.outcomes} == {
        slow.id: DROPPED, quick.id: message_pb2.SEND_OUTCOME_QUEUED}
    assert slow.outbox() <= 1 << 20
    assert broker.count() == 2
    assert slow.methods() == [f"m{n}" for n in range(sent)]
    assert to_account(broker, "slow", options("after", policy="DROP")).queued == 1
    assert slow.methods() == ["after"]


def test_only_the_latest_of_a_key_waits(broker, slow):
    for method, key in (("a1", "a"), ("b1", "b"), ("a2", "a"), ("plain", ""), ("b2", "b"), ("a3", "a")):
        message = options(method, policy="LATEST", key=key) if key else notification(method)
        assert to_account(broker, "slow", message).queued == 1
    assert slow.methods() == ["plain", "b2", "a3"]
    assert broker.metric("messages_dropped_total", direction="out") == 3


def test_what_is_over_never_arrives(broker, slow):
    assert to_account(broker, "slow", options("short", ttl=0.1)).queued == 1
    assert to_account(broker, "slow", options("long", ttl=60)).queued == 1
    wait_until(lambda: broker.metric("messages_expired_total") == 1, "the end of its time")
    assert slow.methods() == ["long"]


def test_options_go_through_publish(broker, slow):
    items = [pb.PublishItem(send=pb.SendRequest(message=message)) for message in (
        options("a1", policy="LATEST", key="a"), options("gone", ttl=0.001), options("a2", policy="LATEST", key="a"),
        notification("last"))]
    (response,) = broker.client.publish([pb.PublishRequest(items=items)])
    assert [result.WhichOneof("result") for result in response.results] == ["send"] * 4
    wait_until(lambda: broker.metric("messages_expired_total") == 1, "the end of its time")
    assert slow.methods() == ["a2", "last"]


@pytest.mark.parametrize("field, message", [
    ("message.ttl", options("m", ttl=0)), ("message.ttl", options("m", ttl=-1)),
    ("message.ttl", options("m", ttl=3600.001)),
    ("message.conflation_key", options("m", policy="LATEST")),
    ("message.conflation_key", options("m", policy="LATEST", key="k" * 257)),
    ("message.conflation_key", options("m", policy="DROP", key="k")),
    ("message.slow_policy", message_pb2.Message(text="{}", slow_policy=77)),
])
def test_wrong_options_are_invalid(broker, field, message):
    socket = broker.join("a1")
    with fails("INVALID_ARGUMENT", field=field):
        to_account(broker, "a1", message)
    with fails("INVALID_ARGUMENT", field=field):
        broker.client.send_to_connection(pb.SendToConnectionRequest(connection_id=socket.id, message=message))


def test_a_filter_leaves_some_out(broker):
    sockets = [broker.join("a1", session="s1", groups=["beta"]), broker.join("a1", token="t1"), broker.join("a2")]

    def got():
        broker.client.send(pb.SendRequest(message=notification("end")))
        result = []
        for socket in sockets:
            methods = []
            while not methods or methods[-1] != "end":
                methods.append(socket.receive_json()["method"])
            result.append(len(methods) - 1)
        return result

    def send(**fields):
        return broker.client.send(pb.SendRequest(message=notification(), **fields)).matched

    def broadcast(**fields):
        return broker.client.broadcast_filtered(pb.BroadcastFilteredRequest(message=notification(), **fields)).matched

    assert send(exclude_filter='groups:"beta"') == 2 and got() == [0, 1, 1]
    assert send(exclude_filter="api_token_id:*", exclude_connection_ids=[sockets[2].id]) == 1 and got() == [1, 0, 0]
    assert to_account(broker, "a1", notification(), exclude_filter='groups:"beta"').matched == 1
    assert got() == [0, 1, 0]
    assert broadcast(match_all=True, exclude_filter='account_id = "a1"') == 1 and got() == [0, 0, 1]
    assert broadcast(filter='account_id = "a1"', exclude_filter="token_hash:*") == 1 and got() == [0, 1, 0]
    assert send(exclude_filter="account_id:*") == 0 and got() == [0, 0, 0]
    for wrong in ("", "color = 1", 'account_id = "a1" AND'):
        for call in (send, lambda **fields: broadcast(match_all=True, **fields),
                     lambda **fields: to_account(broker, "a1", notification(), **fields)):
            with fails("INVALID_ARGUMENT", field="exclude_filter"):
                call(exclude_filter=wrong)
    assert got() == [0, 0, 0]


def test_an_answer_may_wait_for_the_kernel(broker, slow):
    quick = broker.join("quick")
    begun = time.monotonic()
    answer = broker.client.send(pb.SendRequest(
        message=options("m", ttl=0.3), await_written=True, include_outcomes=True))
    assert time.monotonic() - begun >= 0.3
    assert (answer.matched, answer.queued, answer.written, answer.expired) == (2, 2, 1, 1)
    assert (answer.dropped_slow, answer.gone) == (0, 0)
    assert {o.connection_id: o.outcome for o in answer.outcomes} == {slow.id: EXPIRED, quick.id: WRITTEN}
    assert quick.receive_json()["method"] == "m"
    answer = broker.client.broadcast_filtered(pb.BroadcastFilteredRequest(
        filter='account_id = "quick"', message=options("m", ttl=60), await_written=True))
    assert (answer.queued, answer.written, len(answer.outcomes)) == (1, 1, 0)
    answer = to_account(broker, "nobody", options("m", ttl=60), await_written=True)
    assert (answer.matched, answer.written) == (0, 0)


def test_an_answer_waits_for_one_connection(broker, slow, pool):
    quick = broker.join("quick")

    def send(connection_id, message):
        return broker.client.send_to_connection(pb.SendToConnectionRequest(
            connection_id=connection_id, message=message, await_written=True), timeout=PATIENCE).outcome

    assert send(quick.id, options("m", ttl=60)) == WRITTEN
    assert send(slow.id, options("m", ttl=0.1)) == EXPIRED
    before = queued(broker)
    waiting = pool.submit(send, slow.id, options("m1", ttl=60, policy="LATEST", key="k"))
    wait_until(lambda: queued(broker) > before, "a queued message")
    replaced = [waiting, pool.submit(send, slow.id, options("m2", ttl=60, policy="LATEST", key="k"))]
    done, _ = concurrent.futures.wait(replaced, PATIENCE, concurrent.futures.FIRST_COMPLETED)
    assert [future.result() for future in done] == [DROPPED]
    broker.client.remove_connection(pb.RemoveConnectionRequest(connection_id=slow.id))
    assert sorted(future.result() for future in replaced) == [DROPPED, GONE]
    with fails("NOT_FOUND"):
        send(slow.id, options("m", ttl=60))


def test_what_is_read_at_last_was_written(broker, slow, pool):
    before = queued(broker)
    waiting = pool.submit(to_account, broker, "slow", options("m", ttl=60), PATIENCE, await_written=True)
    wait_until(lambda: queued(broker) > before, "a queued message")
    assert not waiting.done()
    assert slow.methods() == ["m"]
    assert waiting.result().written == 1


def test_waiting_needs_a_time(broker):
    socket = broker.join("a1")
    for message in (notification(), options("m", ttl=60.001)):
        with fails("INVALID_ARGUMENT", field="message.ttl"):
            to_account(broker, "a1", message, await_written=True)
        with fails("INVALID_ARGUMENT", field="message.ttl"):
            broker.client.send(pb.SendRequest(message=message, await_written=True))
        with fails("INVALID_ARGUMENT", field="message.ttl"):
            broker.client.send_to_connection(pb.SendToConnectionRequest(
                connection_id=socket.id, message=message, await_written=True))
    assert to_account(broker, "a1", options("m", ttl=60), await_written=True).written == 1
    assert socket.receive_json()["method"] == "m"


def test_who_gives_up_the_wait_still_sends(broker, slow):
    with pytest.raises(BrokerError) as caught:
        to_account(broker, "slow", options("m", ttl=60), timeout=0.3, await_written=True, request_id="r1")
    assert caught.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    # The broker, too, holds nothing for it any more.
    wait_until(lambda: broker.metric("rpcs_total", method="SendToAccount", code="CANCELLED") == 1,
               "the end of the call")
    assert slow.methods() == ["m"]
    # A repeat hears how it ended.
    answer = to_account(broker, "slow", options("m", ttl=60), await_written=True, request_id="r1")
    assert answer.written == 1


@pytest.mark.parametrize("signals", [1, 2])
def test_nobody_who_waits_holds_up_the_end(start_broker, pool, signals):
    broker = start_broker(config={})
    slow = Slow(broker, "slow")
    before = queued(broker)
    waiting = pool.submit(to_account, broker, "slow", options("m", ttl=60), 60, await_written=True)
    wait_until(lambda: queued(broker) > before, "a queued message")
    for _ in range(signals):
        broker.process.terminate()
    try:
        assert waiting.result(PATIENCE).gone == 1
    except BrokerError as error:
        assert error.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED), error
    assert broker.wait() == 0
