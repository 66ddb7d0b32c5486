"""Sending to one, to an account, to all and by filter."""

import concurrent.futures
import json

import pytest

from harness import raw
from harness.broker import identity
from harness.checks import fails, notification
from socketbroker.v1 import filter_pb2, message_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

ODD_TEXT = '{ "method" :"caf\\u00e9 \U0001f600", "jsonrpc":"2.0","params": [1.0, 1e2,  {"b":1,"a":2}]}'
RAW_ENDPOINT = {"endpoints": [{"path": "/ws"}, {"path": "/raw", "namespace": "raw", "framing": "RAW"}]}


def text(value):
    return message_pb2.Message(text=value)


def broadcast(broker, filter=None, message=None, **fields):
    request = pb.BroadcastFilteredRequest(filter=filter, message=message or notification(), **fields)
    return broker.client.broadcast_filtered(request)


def send(broker, message=None, **fields):
    return broker.client.send(pb.SendRequest(message=message or notification(), **fields))


def to_account(broker, account_id, message=None, **fields):
    return broker.client.send_to_account(
        pb.SendToAccountRequest(account_id=account_id, message=message or notification(), **fields))


def to_connection(broker, connection_id, message=None, **fields):
    return broker.client.send_to_connection(
        pb.SendToConnectionRequest(connection_id=connection_id, message=message or notification(), **fields))


def received(broker, sockets):
    """Which of them got something: the messages up to a mark that all get."""
    send(broker, notification("mark"))
    result = []
    for socket in sockets:
        got = []
        while True:
            message = socket.receive()
            if message == '{"jsonrpc":"2.0","method":"mark"}':
                break
            got.append(message)
        result.append(got)
    return result


@pytest.fixture
def crowd(broker):
    return [
        broker.join("a1", session="s1", labels={"region": "eu"}, groups=["beta", "all"]),
        broker.join("a1", token="t1", groups=["all"]),
        broker.join("a2", labels={"region": "us"}),
    ]


@pytest.mark.parametrize("filter, who", [
    ('account_id = "nobody"', []),
    ('account_id = "a1"', [0, 1]),
    ('account_id = "a*"', [0, 1, 2]),
    ('token_hash = "s1"', [0]),
    ('token_hash:*', [0]),
    ('NOT token_hash:*', [1, 2]),
    ('api_token_id:*', [1]),
    ('NOT api_token_id:* AND NOT token_hash:*', [2]),
    ('credential = SESSION', [0]),
    ('groups:"beta"', [0]),
    ('groups:"all" AND NOT groups:"beta"', [1]),
    ('labels.region:*', [0, 2]),
    ('labels.region != "eu"', [2]),
    ('NOT labels.region = "eu"', [1, 2]),
    ('labels.nothing:*', []),
    ('account_id = "a1" AND (groups:"beta" OR api_token_id:*)', [0, 1]),
    ('endpoint = "/ws"', [0, 1, 2]),
    ('remote_address = "127.0.0.1"', [0, 1, 2]),
    ('connect_time > "2020-01-01T00:00:00Z"', [0, 1, 2]),
])
def test_broadcast_reaches_exactly_those_that_match(broker, crowd, filter, who):
    answer = broadcast(broker, filter, text(ODD_TEXT))
    assert (answer.matched, answer.queued, answer.dropped_slow) == (len(who), len(who), 0)
    assert broker.count(filter) == len(who)
    assert received(broker, crowd) == [[ODD_TEXT] if n in who else [] for n in range(3)]


def test_tree_means_what_its_text_means(broker, crowd):
    def comparison(field, op, value):
        result = filter_pb2.FilterExpr()
        result.comparison.field, result.comparison.value = field, value
        result.comparison.op = filter_pb2.FilterComparison.Operator.Value("OPERATOR_" + op)
        return result

    tree = filter_pb2.FilterExpr()
    tree.all_of.exprs.append(comparison("account_id", "PREFIX", "a"))
    either = tree.all_of.exprs.add().any_of
    either.exprs.append(comparison("groups", "EQ", "beta"))
    either.exprs.add().negation.present.field = "groups"
    answer = broker.client.broadcast_filtered(pb.BroadcastFilteredRequest(filter_expr=tree, message=text(ODD_TEXT)))
    assert answer.matched == broker.count('account_id = "a*" AND (groups:"beta" OR NOT groups:*)') == 2
    assert received(broker, crowd) == [[ODD_TEXT], [], [ODD_TEXT]]

    member = filter_pb2.FilterExpr(member=filter_pb2.FilterMember(field="account_id", values=["a2", "x"]))
    assert broker.client.count_connections(pb.CountConnectionsRequest(filter_expr=member)).count == 1


def test_after_one_left_or_was_removed_it_is_not_counted(broker, crowd):
    crowd[0].close()
    broker.wait_connections(lambda: broker.count() == 2, "the count without the one that left")
    broker.client.remove_connection(pb.RemoveConnectionRequest(connection_id=crowd[1].id))
    assert send(broker).matched == 1
    assert broadcast(broker, match_all=True).matched == 1


@pytest.mark.parametrize("fields", [
    {}, {"filter": ""}, {"filter": "   "}, {"match_all": False}, {"filter": "account_id ="},
    {"filter": 'color = "red"'}, {"filter": 'account_id = "a" AND groups:"b" OR groups:"c"'},
    {"filter": 'token_hash = "s*"'}, {"filter": 'account_id > "a"'}, {"filter": 'connect_time > "soon"'},
    {"filter": "credential = KING"}, {"filter": 'account_id:("a" OR "b"'},
    {"filter": "(" * 17 + 'account_id = "a"' + ")" * 17 + " AND NOT " * 20},
])
def test_wrong_filter_is_invalid_and_nothing_is_sent(broker, crowd, fields):
    with fails("INVALID_ARGUMENT"):
        broadcast(broker, **fields)
    assert received(broker, crowd) == [[], [], []]


def test_error_of_a_filter_names_the_place(broker):
    with fails("INVALID_ARGUMENT", field="filter") as caught:
        broker.count('account_id = "a1" AND color = "red"')
    assert "color" in caught.value.violations[0].description


def test_send_to_account(broker, crowd):
    assert to_account(broker, "a1", text(ODD_TEXT)).queued == 2
    assert to_account(broker, "a2", text(ODD_TEXT)).queued == 1
    assert to_account(broker, "nobody").matched == 0
    two = [notification("one"), notification("two")]
    for message in two:
        to_account(broker, "a1", message)
    got = received(broker, crowd)
    wanted = [ODD_TEXT, '{"jsonrpc":"2.0","method":"one"}', '{"jsonrpc":"2.0","method":"two"}']
    assert got == [wanted, wanted, [ODD_TEXT]]
    broker.client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(token_hash="s1"))
    assert to_account(broker, "a1").queued == 1
    with fails("INVALID_ARGUMENT", field="account_id"):
        to_account(broker, "")


def test_send_to_nobody_is_success(broker):
    for answer in (send(broker), to_account(broker, "a1"), broadcast(broker, match_all=True)):
        assert (answer.matched, answer.queued, answer.dropped_slow) == (0, 0, 0)


def test_send_reaches_all_but_the_excluded(broker, crowd):
    answer = send(broker, text(ODD_TEXT), exclude_connection_ids=[crowd[1].id])
    assert answer.matched == 2
    assert to_account(broker, "a1", exclude_connection_ids=[crowd[0].id, crowd[1].id]).matched == 0
    assert broadcast(broker, 'groups:"all"', exclude_connection_ids=[crowd[0].id]).matched == 1
    assert received(broker, crowd) == [[ODD_TEXT], ['{"jsonrpc":"2.0","method":"note"}'], [ODD_TEXT]]


def test_outcome_for_each_connection(broker, crowd):
    for answer in (
        send(broker, include_outcomes=True),
        broadcast(broker, 'account_id = "a*"', include_outcomes=True),
    ):
        assert {o.connection_id: o.outcome for o in answer.outcomes} == {
            socket.id: message_pb2.SEND_OUTCOME_QUEUED for socket in crowd}
    assert len(to_account(broker, "a1", include_outcomes=True).outcomes) == 2
    assert len(send(broker).outcomes) == 0


def test_send_to_connection(broker, crowd):
    assert to_connection(broker, crowd[1].id, text(ODD_TEXT)).outcome == message_pb2.SEND_OUTCOME_QUEUED
    assert received(broker, crowd) == [[], [ODD_TEXT], []]
    with fails("NOT_FOUND"):
        to_connection(broker, "01890a5d-ac96-774b-bcce-b302099a8057")
    stuck = broker.raw_socket(broker.ticket("a9"))
    stuck_id = [c.connection_id for c in broker.list() if c.identity.account_id == "a9"][0]
    broker.client.close_sockets_for_account(pb.CloseSocketsForAccountRequest(account_id="a9"))
    with fails("NOT_FOUND"):
        to_connection(broker, stuck_id)
    assert [f.opcode for f in stuck.frames()] == [raw.CLOSE]


def test_messages_arrive_in_order(broker):
    socket = broker.join("a1")
    for number in range(300):
        call = (send, to_account, to_connection)[number % 3]
        target = {send: [], to_account: ["a1"], to_connection: [socket.id]}[call]
        call(broker, *target, message=notification(n=number))
    assert [socket.receive_json()["params"]["n"] for _ in range(300)] == list(range(300))


@pytest.mark.parametrize("message, wire", [
    ({"method": "m"}, '{"jsonrpc":"2.0","method":"m"}'),
    ({"method": 'quo"te', "params_json": b"[1,  2.50]"}, '{"jsonrpc":"2.0","method":"quo\\"te","params":[1,  2.50]}'),
    ({"method": "m", "params_json": b'{ "b":1, "a":"\xc3\xa9"}'}, '{"jsonrpc":"2.0","method":"m","params":{ "b":1, "a":"\u00e9"}}'),
])
def test_notification_forms(broker, message, wire):
    socket = broker.join("a1")
    send(broker, message_pb2.Message(notification=message_pb2.JsonRpcNotification(**message)))
    assert socket.receive() == wire


def test_notification_with_a_struct(broker):
    socket = broker.join("a1")
    send(broker, notification("m", text="x", number=1.5, whole=3, list=[1, None, True], nested={"a": {}}))
    assert socket.receive_json() == {
        "jsonrpc": "2.0", "method": "m",
        "params": {"text": "x", "number": 1.5, "whole": 3, "list": [1, None, True], "nested": {"a": {}}},
    }


@pytest.mark.parametrize("message", [
    {"method": ""}, {"method": "rpc.x"}, {"method": "m" * 257}, {"method": "m", "params_json": b"7"},
    {"method": "m", "params_json": b"[1"}, {"method": "m", "params_json": b'{"a":1,"a":2}'},
    {"method": "m", "params_json": b"[" * 33 + b"]" * 33}, {"method": "m", "params_json": b'["\xff"]'},
])
def test_wrong_notification_is_invalid(broker, message):
    socket = broker.join("a1")
    with fails("INVALID_ARGUMENT"):
        send(broker, message_pb2.Message(notification=message_pb2.JsonRpcNotification(**message)))
    assert received(broker, [socket]) == [[]]


@pytest.mark.parametrize("value", [
    '{"jsonrpc":"2.0","method":"m"}', '{"jsonrpc":"2.0","id":1,"result":null}',
    '{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}',
])
def test_texts_that_a_json_rpc_client_understands(broker, value):
    socket = broker.join("a1")
    send(broker, text(value))
    assert socket.receive() == value


@pytest.mark.parametrize("value", [
    "", "hello", "[]", "7", '{"jsonrpc":"2.0"}', '{"jsonrpc":"1.0","method":"m"}', '{"method":"m"}',
    '[{"jsonrpc":"2.0","method":"m"}]', '{"jsonrpc":"2.0","method":"m"} {}', '{"jsonrpc":"2.0","method":7}',
    '{"jsonrpc":"2.0","id":1,"method":"m"}', '{"jsonrpc":"2.0","id":null,"method":"m"}',
])
def test_other_texts_are_invalid(broker, value):
    socket = broker.join("a1")
    with fails("INVALID_ARGUMENT"):
        send(broker, text(value))
    assert received(broker, [socket]) == [[]]


def test_error_of_a_request_points_to_the_right_call(broker):
    with fails("INVALID_ARGUMENT") as caught:
        send(broker, text('{"jsonrpc":"2.0","id":1,"method":"m"}'))
    assert "RequestConnection" in str(caught.value)


def test_message_without_content_or_over_the_limit_is_invalid(broker):
    with fails("INVALID_ARGUMENT"):
        broker.client.send(pb.SendRequest())
    with fails("INVALID_ARGUMENT"):
        send(broker, message_pb2.Message())
    with fails("INVALID_ARGUMENT"):
        send(broker, notification("m", x="y" * (1 << 20)))
    with fails("INVALID_ARGUMENT"):
        send(broker, message_pb2.Message(binary=b"x"))


@pytest.mark.parametrize("value", ["", "not JSON at all \u00e9", '{"jsonrpc":"2.0","id":1,"method":"m"}', "x" * 200_000],
                         ids=["empty", "words", "request", "long"])
def test_raw_endpoint_takes_any_text(start_broker, value):
    broker = start_broker(config=RAW_ENDPOINT)
    socket = broker.join("a1", path="/raw", namespace="raw")
    assert send(broker, text(value), namespace="raw").queued == 1
    assert socket.receive() == value


@pytest.mark.parametrize("value", [b"", b"\x00\xff\x80", bytes(range(256)) * 1000],
                         ids=["empty", "short", "long"])
def test_raw_endpoint_takes_any_binary(start_broker, value):
    broker = start_broker(config=RAW_ENDPOINT)
    socket = broker.join("a1", path="/raw", namespace="raw")
    here = broker.join("a1")
    assert to_connection(broker, socket.id, message_pb2.Message(binary=value)).outcome == message_pb2.SEND_OUTCOME_QUEUED
    assert socket.receive() == value
    assert received(broker, [here]) == [[]]


def test_large_message_is_whole(broker):
    socket = broker.join("a1")
    value = json.dumps({"jsonrpc": "2.0", "method": "m", "params": ["z" * 1_000_000]})
    send(broker, text(value))
    assert socket.receive() == value


def test_repeated_request_id_is_answered_and_sent_once(broker):
    socket = broker.join("a1")
    first = send(broker, notification("once"), request_id="r1", include_outcomes=True)
    broker.join("a2")
    assert send(broker, notification("once"), request_id="r1", include_outcomes=True) == first
    assert first.matched == 1
    with fails("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        send(broker, notification("other"), request_id="r1")
    # An id belongs to its method.
    assert to_account(broker, "a1", notification("twice"), request_id="r1").matched == 1
    assert [json.loads(m)["method"] for m in received(broker, [socket])[0]] == ["once", "twice"]


def test_concurrent_request_ids_join_the_first(broker):
    socket = broker.join("a1")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: send(broker, request_id="same"), range(64)))
    assert all(answer == answers[0] for answer in answers)
    assert received(broker, [socket]) == [['{"jsonrpc":"2.0","method":"note"}']]


def test_errors_are_not_remembered(broker):
    request = pb.AddConnectionRequest(connection_id="01890a5d-ac96-774b-bcce-b302099a8057",
                                      identity=identity("a1"), request_id="r1")
    with fails("NOT_FOUND"):
        broker.client.add_connection(request)
    request.connection_id = broker.pend().id
    broker.client.add_connection(request)


def test_request_id_has_a_limit(broker):
    send(broker, request_id="r" * 128)
    with fails("INVALID_ARGUMENT", field="request_id"):
        send(broker, request_id="r" * 129)


def test_slow_consumer_is_closed_4008_and_others_go_on(broker):
    slow = broker.raw_socket(broker.ticket("slow"), receive_buffer=4096)
    quick = broker.join("quick")
    watch = broker.client.watch_connections(pb.WatchConnectionsRequest(filter='account_id = "slow"'), timeout=15)
    value = json.dumps({"jsonrpc": "2.0", "method": "big", "params": ["x" * 500_000]})
    for sent in range(1, 40):
        answer = send(broker, text(value))
        assert answer.matched == answer.queued + answer.dropped_slow == 2
        assert quick.receive() == value
        if answer.dropped_slow:
            break
    assert answer.dropped_slow == 1 and 6 <= sent <= 16
    assert broker.count() == 1 and send(broker).matched == 1
    removed = next(event.removed for event in watch if event.WhichOneof("event") == "removed")
    assert removed.close_code == 4008
    assert removed.connection.identity.account_id == "slow"
    slow.abort()
