"""Calls that are too large, that nobody waits for any more, and clients that do not read."""

import signal

import grpc
import pytest

from harness.checks import fails, notification
from socketbroker.v1 import filter_pb2, message_pb2
from socketbroker.v1 import socket_broker_pb2 as pb
from socketbroker.v1 import socket_broker_pb2_grpc

MIB = 1 << 20


def broadcast(broker, **fields):
    return broker.client.broadcast_filtered(pb.BroadcastFilteredRequest(message=notification(), **fields))


def deep(levels):
    expr = filter_pb2.FilterExpr(member=filter_pb2.FilterMember(field="account_id", values=["a1"]))
    for _ in range(levels - 1):
        expr = filter_pb2.FilterExpr(negation=expr)
    return expr


def wide(nodes):
    result = filter_pb2.FilterExpr()
    for number in range(nodes - 1):
        result.any_of.exprs.add().member.MergeFrom(
            filter_pb2.FilterMember(field="account_id", values=[f"a{number}"]))
    return result


# E2
@pytest.mark.parametrize("make, most, place", [
    (deep, 16, "filter_expr" + ".negation" * 16), (wide, 256, "filter_expr.any_of.exprs[255]")])
def test_filters_have_limits(broker, make, most, place):
    broker.join("a1")
    assert broadcast(broker, filter_expr=make(most)).matched in (0, 1)
    with fails("INVALID_ARGUMENT", field=place):
        broadcast(broker, filter_expr=make(most + 1))


def test_the_text_of_a_filter_has_a_limit(broker):
    text = 'account_id = "a1"'
    assert broadcast(broker, filter=text + " " * (64 * 1024 - len(text))).matched == 0
    with fails("INVALID_ARGUMENT", field="filter"):
        broadcast(broker, filter=text + " " * (64 * 1024 - len(text) + 1))


# E3
def test_a_request_of_more_than_4_mib(broker):
    reader = broker.join("a1")
    request = pb.SendRequest(message=message_pb2.Message(binary=bytes(4 * MIB - 64)))
    request.request_id = "x" * (4 * MIB - request.ByteSize() - 2)
    assert request.ByteSize() == 4 * MIB
    with fails("INVALID_ARGUMENT"):  # it is read, and the message is too large
        broker.client.send(request)
    request.request_id += "x"
    with fails("RESOURCE_EXHAUSTED"):
        broker.client.send(request)
    assert reader.is_open()


# E4: what is done is done, and the audit says how much, though the caller no longer asks.
def test_calls_that_nobody_waits_for(start_broker):
    broker = start_broker(config={"log": {"audit": "ALL"}, "drain": {"window": "1s"}})
    readers = [broker.join(f"a{n}") for n in range(100)]
    # Slow on purpose: 254 comparisons of every connection, none of them indexed.
    no = " OR ".join(f'labels.colour = "c{n}"' for n in range(127))
    request = pb.BroadcastFilteredRequest(message=notification(n=1), filter=f'({no}) OR NOT labels.colour = "c1"')
    codes = set()
    with grpc.insecure_channel(broker.control) as channel:
        stub = socket_broker_pb2_grpc.SocketBrokerStub(channel)
        for _ in range(3):
            calls = [stub.BroadcastFiltered.future(request, timeout=(10, 0.01)[n % 2]) for n in range(30)]
            # Behind them on the same connection: they have arrived.
            stub.GetBrokerInfo(pb.GetBrokerInfoRequest(), timeout=10)
            for call in calls[::3]:
                call.cancel()
            codes |= {call.code() for call in calls}
        assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
        assert codes & {grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert broker.count() == len(readers)
    # At its end, for nothing else is behind every one of them: they run beside each other.
    broker.signal(signal.SIGTERM)
    assert broker.wait() == 0
    received = sum(len(reader.rest()) for reader in readers)
    assert received > 0
    lines = [e for e in broker.events("audit") if e["method"] == "BroadcastFiltered"]
    assert {e["outcome"] for e in lines} <= {"OK", "CANCELLED"}
    assert sum(e["queued"] for e in lines) == received


# C2
def test_who_stalls_costs_nobody_else_anything(start_broker):
    limit = MIB
    broker = start_broker(config={"endpoints": [{"path": "/ws", "framing": "RAW", "ways": ["TICKET"],
                                                 "max_message_bytes": 64 * 1024, "max_outbox_bytes": limit}]})
    stalled = [broker.raw_socket(broker.ticket("stalled"), receive_buffer=4096) for _ in range(10)]
    healthy = [broker.join("healthy") for _ in range(40)]
    count = 300
    for number in range(count):
        message = message_pb2.Message(binary=number.to_bytes(4, "big") + bytes(16 * 1024))
        sent = broker.client.send(pb.SendRequest(message=message))
        for reader in healthy:
            assert int.from_bytes(reader.receive()[:4], "big") == number
    assert broker.metric("outbox_peak_bytes") <= limit
    broker.wait_connections(lambda: broker.metric("closes_total", code="4008") == len(stalled), "the stalled to be closed")
    assert sent.queued == len(healthy) == broker.count()
    assert broker.metric("outbox_bytes") == 0
