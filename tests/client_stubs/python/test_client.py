"""The Python client against a fake broker: what it adds to the generated stubs."""

import re
import subprocess
import sys
import textwrap
import threading

import grpc
import pytest
import socketbroker
from fake_broker import METHODS, Refusal, message_type
from socketbroker.v1 import attach_pb2
from socketbroker.v1 import connection_pb2
from socketbroker.v1 import conversation_pb2
from socketbroker.v1 import message_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

FAILED_PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION


STREAMS = ("Attach", "Publish", "RequestFiltered", "WatchConnections")


def snake_case(name):
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def growing_epochs(first):
    """Epochs grow with every look at the broker, as if somebody revoked between."""
    epochs = iter(range(first, first + 100))
    return lambda _: pb.GetBrokerInfoResponse(epoch=next(epochs))


def identity(account="a1"):
    return connection_pb2.Identity(account_id=account)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in STREAMS])
def test_has_one_method_for_every_rpc(broker, client, name):
    response = getattr(client, snake_case(name))(message_type(f"{name}Request")())
    assert type(response) is message_type(f"{name}Response")
    assert broker.names == [name]


def test_gives_every_call_the_default_timeout(broker, client):
    client.send(pb.SendRequest())
    # Near 10 s: on the wire gRPC rounds it up, on the way some of it passes.
    assert 5 < broker.time_remaining < 15


def test_takes_a_timeout_for_one_call(broker, client):
    client.send(pb.SendRequest(), timeout=3600)
    assert broker.time_remaining > 3000


def test_sends_the_api_key_with_every_call(broker):
    with socketbroker.Client(broker.address, api_key="k2", metadata=lambda: [("x-more", "1")]) as client:
        client.get_broker_info(pb.GetBrokerInfoRequest())
        assert (broker.metadata["authorization"], broker.metadata["x-more"]) == ("Bearer k2", "1")
        list(client.publish(iter([])))
    assert broker.metadata["authorization"] == "Bearer k2"


def test_tls_from_files_wants_both_halves(tmp_path):
    with pytest.raises(ValueError, match="together"):
        socketbroker.tls_from_files(certificate="cert.pem")
    with pytest.raises(FileNotFoundError):
        socketbroker.tls_from_files(ca=str(tmp_path / "none.pem"))


def test_adds_metadata_to_every_call(broker):
    with socketbroker.Client(broker.address, metadata=lambda: [("authorization", "Bearer k1")]) as client:
        client.send(pb.SendRequest())
    assert broker.metadata["authorization"] == "Bearer k1"


def test_waits_for_a_ready_connection_until_the_timeout():
    with socketbroker.Client("unix:/nonexistent/broker.sock") as waiting:
        with pytest.raises(socketbroker.BrokerError) as raised:
            waiting.send(pb.SendRequest(), timeout=0.05)
    assert raised.value.code == grpc.StatusCode.DEADLINE_EXCEEDED
    with socketbroker.Client("unix:/nonexistent/broker.sock", wait_for_ready=False) as hasty:
        with pytest.raises(socketbroker.BrokerError) as raised:
            hasty.send(pb.SendRequest())
    assert raised.value.code == grpc.StatusCode.UNAVAILABLE


def test_remembers_the_epoch_of_the_newest_answer(broker, client):
    assert client.newest_epoch == 0
    for epoch, newest in ((20, 20), (30, 30), (25, 25), (0, 25)):
        broker.on("CloseSocketsForToken", pb.CloseSocketsForTokenResponse(epoch=epoch))
        client.close_sockets_for_token(pb.CloseSocketsForTokenRequest())
        assert client.newest_epoch == newest


def test_takes_the_epoch_before_it_verifies(broker, client):
    broker.on("GetBrokerInfo", growing_epochs(5))
    broker.on("CreateTicket", pb.CreateTicketResponse(ticket="secret"))

    def verify():
        assert broker.names == ["GetBrokerInfo"]
        # Somebody revokes and this client hears of it: too late to count.
        client.get_broker_info(pb.GetBrokerInfoRequest())
        return identity()

    given = pb.CreateTicketRequest(namespace="n", verified_at_epoch=99)
    assert client.create_ticket_verified(given, verify).ticket == "secret"
    [sent] = broker.of("CreateTicket")
    assert sent == pb.CreateTicketRequest(namespace="n", verified_at_epoch=5, identity=identity())
    assert given == pb.CreateTicketRequest(namespace="n", verified_at_epoch=99)
    assert client.newest_epoch == 6


def test_uses_the_epoch_it_knows(broker, client):
    broker.on("GetBrokerInfo", growing_epochs(5))
    for _ in range(2):
        client.create_ticket_verified(pb.CreateTicketRequest(), identity)
    assert broker.names == ["GetBrokerInfo", "CreateTicket", "CreateTicket"]


@pytest.mark.parametrize("reason", ["CREDENTIAL_REVOKED", "EPOCH_TOO_OLD"])
def test_verifies_again_and_retries_once_when_revoked_or_too_old(broker, client, reason):
    broker.on("GetBrokerInfo", growing_epochs(5))
    bound = pb.AddConnectionResponse(connection=connection_pb2.Connection(version=1))
    broker.on("AddConnection", [Refusal(FAILED_PRECONDITION, "no", reason), bound])
    accounts = iter(["a1", "a2"])
    response = client.add_connection_verified(pb.AddConnectionRequest(), lambda: identity(next(accounts)))
    assert response == bound
    assert [(r.verified_at_epoch, r.identity.account_id) for r in broker.of("AddConnection")] == [(5, "a1"), (6, "a2")]


def test_takes_the_lower_epoch_of_another_broker(broker, client):
    broker.on("GetBrokerInfo", growing_epochs(90))
    client.get_broker_info(pb.GetBrokerInfoRequest())
    broker.on("GetBrokerInfo", growing_epochs(5))
    bound = pb.AddConnectionResponse(connection=connection_pb2.Connection(version=1))
    broker.on("AddConnection", [Refusal(grpc.StatusCode.INVALID_ARGUMENT, "no", "EPOCH_AHEAD"), bound])
    assert client.add_connection_verified(pb.AddConnectionRequest(), identity) == bound
    assert [r.verified_at_epoch for r in broker.of("AddConnection")] == [90, 5]
    assert client.newest_epoch == 5


def test_gives_up_when_revoked_twice(broker, client):
    broker.on("GetBrokerInfo", growing_epochs(5))
    broker.on("CreateTicket", Refusal(FAILED_PRECONDITION, "no", "CREDENTIAL_REVOKED"))
    with pytest.raises(socketbroker.BrokerError) as raised:
        client.create_ticket_verified(pb.CreateTicketRequest(), identity)
    assert raised.value.reason == "CREDENTIAL_REVOKED"
    assert [r.verified_at_epoch for r in broker.of("CreateTicket")] == [5, 6]


def test_does_not_retry_other_refusals(broker, client):
    broker.on("GetBrokerInfo", growing_epochs(5))
    broker.on("CreateTicket", Refusal(grpc.StatusCode.INVALID_ARGUMENT, "no", "OTHER"))
    with pytest.raises(socketbroker.BrokerError):
        client.create_ticket_verified(pb.CreateTicketRequest(), identity)
    assert len(broker.of("CreateTicket")) == 1


@pytest.mark.parametrize("answer", [None, True, {}])
def test_binds_nothing_when_verify_forgets_to_answer(broker, client, answer):
    with pytest.raises(TypeError):
        client.create_ticket_verified(pb.CreateTicketRequest(), lambda: answer)
    assert broker.of("CreateTicket") == []


def test_binds_nothing_that_does_not_verify(broker, client):
    broker.on("CreateTicket", Refusal(FAILED_PRECONDITION, "no", "CREDENTIAL_REVOKED"))
    looks = iter([identity()])
    with pytest.raises(StopIteration):
        client.create_ticket_verified(pb.CreateTicketRequest(), lambda: next(looks))
    assert len(broker.of("CreateTicket")) == 1


def test_errors_tell_reason_metadata_and_violations(broker, client):
    violation = ("identity.account_id", "is empty; 1 to 256 bytes are allowed")
    broker.on("CreateTicket", Refusal(grpc.StatusCode.INVALID_ARGUMENT, "wrong", "R", [violation]))
    with pytest.raises(socketbroker.BrokerError) as raised:
        client.create_ticket(pb.CreateTicketRequest())
    error = raised.value
    assert (error.code, error.message, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "wrong", "R")
    assert error.metadata == {"limit": "7"}
    assert error.violations == [socketbroker.FieldViolation(*violation)]
    assert str(error) == "INVALID_ARGUMENT: wrong (R)"


def test_errors_leave_out_what_is_not_the_brokers_or_not_readable(broker, client):
    internal = grpc.StatusCode.INTERNAL
    for refusal in (Refusal(internal, "m", "R", domain="elsewhere"), Refusal(internal, "m", details=b"\x1a\xff")):
        broker.on("Send", refusal)
        with pytest.raises(socketbroker.BrokerError) as raised:
            client.send(pb.SendRequest())
        assert (raised.value.message, raised.value.reason) == ("m", "")


def test_watch_reads_in_order_and_tells_why_it_ended(broker, client):
    added = pb.WatchConnectionsResponse(added=connection_pb2.Connection(connection_id="c1"))
    end = pb.WatchConnectionsResponse(snapshot_end=pb.SnapshotEnd())
    broker.on("WatchConnections", [added, end, Refusal(grpc.StatusCode.ABORTED, "slow", "WATCH_TOO_SLOW")])
    watch = client.watch_connections(pb.WatchConnectionsRequest())
    assert [next(watch), next(watch)] == [added, end]
    with pytest.raises(socketbroker.BrokerError) as raised:
        next(watch)
    assert raised.value.reason == "WATCH_TOO_SLOW"


def test_watch_ends_silently_when_it_is_cancelled(broker, client):
    broker.on("WatchConnections", [pb.WatchConnectionsResponse()])
    with client.watch_connections(pb.WatchConnectionsRequest()) as watch:
        next(watch)
        threading.Thread(target=watch.cancel).start()
        assert list(watch) == []


def test_shares_a_process_with_googleapis_common_protos():
    """Whoever registers google/rpc first: neither notices the other."""
    program = """
        from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool
        def common_protos():
            file = descriptor_pb2.FileDescriptorProto(name="google/rpc/status.proto", package="google.rpc",
                                                      syntax="proto3")
            file.message_type.add(name="Status").field.add(name="other", number=9, type=9, label=1)
            descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
        {first}
        {second}
    """
    for order in (("common_protos()", "import socketbroker"), ("import socketbroker", "common_protos()")):
        code = textwrap.dedent(program).format(first=order[0], second=order[1])
        subprocess.run([sys.executable, "-c", code], check=True)


def removals(*ids):
    request = pb.PublishRequest()
    for connection_id in ids:
        request.items.add().remove_connection.connection_id = connection_id
    return request


def test_publish_answers_in_order(broker, client):
    def answer(request):
        response = pb.PublishResponse()
        for item in request.items:
            refusal = Refusal(grpc.StatusCode.NOT_FOUND, "gone", "GONE " + item.remove_connection.connection_id)
            response.results.add().error.ParseFromString(refusal.details)
        return response

    broker.on("Publish", answer)
    responses = list(client.publish([removals("1", "2"), removals("3")]))
    errors = [socketbroker.from_publish_error(result.error) for r in responses for result in r.results]
    assert [error.code for error in errors] == [grpc.StatusCode.NOT_FOUND] * 3
    assert [error.reason for error in errors] == ["GONE 1", "GONE 2", "GONE 3"]


def test_publish_tells_why_it_ended(broker, client):
    broker.on("Publish", [pb.PublishResponse(), Refusal(grpc.StatusCode.INVALID_ARGUMENT, "no", "END")])
    responses = client.publish([removals("1"), removals("2")])
    next(responses)
    with pytest.raises(socketbroker.BrokerError) as raised:
        next(responses)
    assert raised.value.reason == "END"


def test_attach_says_and_hears(broker, client):
    def answer(request):
        if request.HasField("refuse_handshake"):
            raise Refusal(grpc.StatusCode.ABORTED, "too slow", "EVENTS_LOST")
        return attach_pb2.AttachResponse(started=attach_pb2.AttachStarted(epoch=7))

    broker.on("Attach", answer)
    with client.attach(attach_pb2.AttachStart(handshakes=True)) as stream:
        assert next(stream).started.epoch == 7
        stream.credit(handshakes=2, events=3)
        next(stream)
        stream.refuse(5, "no")
        with pytest.raises(socketbroker.BrokerError) as raised:
            next(stream)
        assert raised.value.reason == "EVENTS_LOST"
    said = broker.of("Attach")
    assert said[0].start.handshakes and (said[1].credit.handshakes, said[1].credit.events) == (2, 3)
    assert (said[2].refuse_handshake.offer_id, said[2].refuse_handshake.reason) == (5, "no")


def test_attach_ends_when_it_is_cancelled(broker, client):
    stream = client.attach(attach_pb2.AttachStart())
    next(stream)
    stream.cancel()
    assert list(stream) == []


def test_request_filtered_yields_what_comes_of_each(broker, client):
    responses = [conversation_pb2.RequestFilteredResponse(connection_id=id) for id in ("c1", "c2")]
    broker.on("RequestFiltered", responses)
    with client.request_filtered(conversation_pb2.RequestFilteredRequest(method="m")) as replies:
        assert list(replies) == responses
    assert [request.method for request in broker.of("RequestFiltered")] == ["m"]


def test_attach_replies_sends_and_drains(broker, client):
    broker.on("Attach", lambda request: attach_pb2.AttachResponse())
    with client.attach(attach_pb2.AttachStart()) as stream:
        stream.credit(messages=4)
        stream.reply(conversation_pb2.Reply(message_id=7, result_json=b"1"))
        stream.send("c1", message_pb2.Message(text="hi"), report=9)
        stream.drain()
        stream.half_close()
        assert len(list(stream)) == 5  # and it ends
    said = broker.of("Attach")
    assert said[1].credit.messages == 4 and said[2].reply.message_id == 7
    assert (said[3].send.connection_id, said[3].send.message.text, said[3].send.report) == ("c1", "hi", 9)
    assert said[4].HasField("drain")


def test_request_filtered_streams_outcomes(broker, client):
    response = conversation_pb2.RequestFilteredResponse
    broker.on("RequestFiltered", [response(connection_id="c1"),
                                  Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "no", "TOO_MANY_OUTCOMES")])
    outcomes = client.request_filtered(conversation_pb2.RequestFilteredRequest(method="m"))
    assert next(outcomes).connection_id == "c1"
    with pytest.raises(socketbroker.BrokerError) as raised:
        next(outcomes)
    assert raised.value.reason == "TOO_MANY_OUTCOMES"
