"""Get, List, Count, Watch and GetBrokerInfo."""

import queue
import threading
import time

import pytest

from harness.broker import identity
from harness.checks import fails
from socketbroker import BrokerError
from socketbroker.v1 import connection_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

ADMITTED = connection_pb2.CONNECTION_STATE_ADMITTED
PENDING = connection_pb2.CONNECTION_STATE_PENDING
Removed = pb.RemovedConnection


class Watch:
    """A watch that is read in the background."""

    def __init__(self, broker, **fields):
        self._call = broker.client.watch_connections(pb.WatchConnectionsRequest(**fields))
        self._queue = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            for response in self._call:
                self._queue.put(response)
        except BrokerError as error:
            self._queue.put(error)

    def next(self):
        """Kind and content of the next event; its token is in `token`."""
        response = self._queue.get(timeout=15)
        if isinstance(response, BrokerError):
            raise response
        self.token = response.resume_token
        kind = response.WhichOneof("event")
        return kind, getattr(response, kind)

    def until(self, wanted):
        """The first event for which `wanted(kind, content)`; a binding may be seen
        before its admission."""
        while True:
            kind, content = self.next()
            if wanted(kind, content):
                return content

    def snapshot(self):
        result = []
        while True:
            kind, content = self.next()
            if kind == "snapshot_end":
                return result
            assert kind == "added" and self.token == ""
            result.append(content)

    def cancel(self):
        self._call.cancel()
        self._thread.join(15)


@pytest.fixture
def watch(broker):
    watches = []

    def start(**fields):
        watches.append(Watch(broker, **fields))
        return watches[-1]

    yield start
    for one in watches:
        one.cancel()


def test_get(broker):
    before = time.time()
    socket = broker.connect(broker.ticket("a1", session="s1"), by="query", query="a=1&b=%20", origin="http://localhost:9")
    (connection,) = broker.list()
    socket.id = connection.connection_id
    got = broker.get(socket)
    assert got.state == ADMITTED and got.namespace == "default" and got.endpoint == "/ws"
    assert got.remote_address == "127.0.0.1" and got.remote_port > 0
    assert got.origin == "http://localhost:9"
    assert got.query == "a=1&b=%20", "the query without the ticket"
    assert got.identity == identity("a1", session="s1") and got.version == 1
    for stamp in (got.connect_time, got.admit_time):
        assert before - 1 < stamp.ToMicroseconds() / 1e6 < time.time() + 1
    assert got.outbox_bytes == 0 and not got.HasField("close_code")
    with fails("NOT_FOUND"):
        broker.client.get_connection(pb.GetConnectionRequest(connection_id="01890a5d-ac96-774b-bcce-b302099a8057"))


def test_closing_connection_is_listed_with_its_code_and_not_counted(broker):
    socket = broker.raw_socket(broker.ticket("a1", session="s1"))
    broker.client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(token_hash="s1"))
    (connection,) = broker.list()
    assert connection.state == connection_pb2.CONNECTION_STATE_CLOSING
    assert connection.close_code == 4001 and connection.identity.account_id == "a1"
    assert broker.count() == 0
    socket.abort()
    broker.wait_connections(lambda: broker.list() == [], "an empty list")


def test_pages_give_everyone_once_in_order(broker):
    ids = [broker.join("even" if n % 2 == 0 else "odd").id for n in range(25)]

    def pages(**fields):
        request, found = pb.ListConnectionsRequest(**fields), []
        while True:
            page = broker.client.list_connections(request)
            found.append([c.connection_id for c in page.connections])
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    found = pages(page_size=10)
    assert [len(page) for page in found] == [10, 10, 5]
    assert sum(found, []) == ids == sorted(ids)
    found = pages(page_size=5, filter='account_id = "odd"')
    assert sum(found, []) == ids[1::2]
    assert sum(pages(), []) == ids
    assert pages(filter='account_id = "nobody"') == [[]]


def test_a_page_is_not_longer_than_clients_take(broker):
    # Whoever comes says how long its query is.
    sockets = [broker.raw_socket(path="/ws?" + "q" * 15_000) for _ in range(300)]
    request, found = pb.ListConnectionsRequest(page_size=1000), 0
    while found == 0 or request.page_token:
        page = broker.client.list_connections(request)
        assert page.connections and page.ByteSize() < 4 << 20
        found += len(page.connections)
        request.page_token = page.next_page_token
    assert found == len(sockets)


def test_page_goes_on_while_connections_come_and_go(broker):
    sockets = [broker.join("a1") for _ in range(10)]
    page = broker.client.list_connections(pb.ListConnectionsRequest(page_size=4))
    for gone in (sockets[3], sockets[5]):
        broker.client.remove_connection(pb.RemoveConnectionRequest(connection_id=gone.id))
        gone.closed()
    late = broker.join("a1")
    broker.wait_connections(lambda: len(broker.list()) == 9, "the removed ones to be gone")
    rest = broker.client.list_connections(pb.ListConnectionsRequest(page_size=100, page_token=page.next_page_token))
    assert [c.connection_id for c in rest.connections] == [s.id for s in (*sockets[4:5], *sockets[6:], late)]


def test_page_token_belongs_to_its_request(broker):
    for _ in range(3):
        broker.join("a1")
    token = broker.client.list_connections(pb.ListConnectionsRequest(page_size=1)).next_page_token
    for wrong in (
        pb.ListConnectionsRequest(page_token=token, filter='account_id = "a1"'),
        pb.ListConnectionsRequest(page_token=token, states=[PENDING]),
        pb.ListConnectionsRequest(page_token="nonsense"),
        pb.ListConnectionsRequest(page_token=token[:-2]),
    ):
        with fails("INVALID_ARGUMENT", field="page_token"):
            broker.client.list_connections(wrong)
    with fails("INVALID_ARGUMENT", field="page_size"):
        broker.client.list_connections(pb.ListConnectionsRequest(page_size=-1))


def test_list_by_state_and_count(broker):
    broker.join("a1")
    pending = broker.pend()
    assert [c.connection_id for c in broker.list(states=[PENDING])] == [pending.id]
    assert len(broker.list(states=[PENDING, ADMITTED])) == len(broker.list()) == 2
    assert len(broker.list(filter="endpoint = \"/ws\"")) == 2
    assert broker.count() == broker.count('endpoint = "/ws"') == 1
    with fails("INVALID_ARGUMENT", field="namespace"):
        broker.count(namespace="nowhere")


def test_watch_gives_a_snapshot_then_changes(broker, watch):
    socket = broker.join("a1", session="s1")
    seen = watch()
    assert [c.connection_id for c in seen.snapshot()] == [socket.id]

    pending = broker.pend()
    kind, connection = seen.next()
    assert (kind, connection.connection_id, connection.state) == ("added", pending.id, PENDING)
    broker.client.add_connection(pb.AddConnectionRequest(connection_id=pending.id, identity=identity("a2")))
    connection = seen.until(lambda kind, c: kind == "updated" and c.state == ADMITTED)
    assert (connection.connection_id, connection.identity.account_id) == (pending.id, "a2")
    pending.close(4321, "bye")
    removed = seen.until(lambda kind, _: kind == "removed")
    assert (removed.reason, removed.close_code) == (Removed.REASON_CLOSED, 4321)
    assert removed.connection.identity.account_id == "a2"

    broker.client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(token_hash="s1"))
    kind, connection = seen.next()
    assert (kind, connection.state) == ("updated", connection_pb2.CONNECTION_STATE_CLOSING)
    kind, removed = seen.next()
    assert (kind, removed.reason, removed.close_code) == ("removed", Removed.REASON_CLOSED, 4001)
    assert removed.connection.identity == identity("a1", session="s1"), "the identity stays readable"


def test_client_that_just_vanishes_is_1006(broker, watch):
    socket = broker.raw_socket(broker.ticket("a1"))
    seen = watch()
    seen.snapshot()
    socket.abort()
    assert seen.until(lambda kind, _: kind == "removed").close_code == 1006


def test_watch_with_a_filter(broker, watch):
    socket = broker.join("a1")
    seen = watch(filter='groups:"g"')
    assert seen.snapshot() == []
    broker.join("a2")
    change = pb.UpdateConnectionsFilteredRequest(filter='account_id = "a1"', add_groups=["g"])
    broker.client.update_connections_filtered(change)
    kind, connection = seen.next()
    assert (kind, connection.connection_id) == ("added", socket.id)
    change = pb.UpdateConnectionsFilteredRequest(filter='account_id = "a1"', remove_groups=["g"])
    broker.client.update_connections_filtered(change)
    kind, removed = seen.next()
    assert (kind, removed.reason, removed.close_code) == ("removed", Removed.REASON_LEFT_FILTER, 0)


def test_watch_with_states(broker, watch):
    seen = watch(states=[PENDING])
    assert seen.snapshot() == []
    broker.join("a1")
    pending = broker.pend()
    assert seen.next()[1].connection_id == pending.id
    broker.client.add_connection(pb.AddConnectionRequest(connection_id=pending.id, identity=identity("a2")))
    removed = seen.until(lambda kind, _: kind == "removed")
    assert (removed.reason, removed.connection.identity.account_id) == (Removed.REASON_LEFT_FILTER, "a2")


def test_watch_resumes_behind_its_token(broker, watch):
    seen = watch()
    seen.snapshot()
    tokens, ids = [seen.token], []
    for number in range(5):
        ids.append(broker.join(f"a{number}").id)
        seen.until(lambda _, connection: connection.state == ADMITTED)
        tokens.append(seen.token)
    seen.cancel()
    ids.append(broker.join("late").id)

    for start, token in enumerate(tokens):
        again, got = watch(resume_token=token), set()
        while len(got) < len(ids) - start:
            kind, connection = again.next()
            assert kind in ("added", "updated")
            got.add(connection.connection_id)
        assert got == set(ids[start:]), "those behind the token, and no others"


def test_token_that_the_broker_cannot_follow(broker, start_broker, watch):
    seen = watch()
    seen.snapshot()
    with fails("INVALID_ARGUMENT", field="resume_token"):
        watch(resume_token="nonsense").next()
    with fails("INVALID_ARGUMENT", field="resume_token"):
        watch(resume_token=seen.token, filter='account_id = "a1"').next()
    other = start_broker()
    with fails("OUT_OF_RANGE"):
        Watch(other, resume_token=seen.token).next()


def test_broker_info(start_broker):
    broker = start_broker(config={"endpoints": [
        {"path": "/ws", "ways": ["TICKET", "MANUAL"]}, {"path": "/raw", "namespace": "raw", "framing": "RAW"}]})
    broker.join("a1")
    broker.pend()
    info = broker.client.get_broker_info(pb.GetBrokerInfoRequest())
    assert info.ready and info.version and len(info.node_id) == 36
    assert 0 < info.oldest_epoch <= info.epoch
    assert (info.websocket_address, info.control_address, info.admin_address) == (
        broker.websocket, broker.control, broker.admin)
    assert not info.websocket_tls
    assert info.shards >= 1
    assert [(e.path, e.namespace, e.framing) for e in info.endpoints] == [
        ("/ws", "default", "JSONRPC"), ("/raw", "raw", "RAW")]
    assert info.endpoints[0].max_message_bytes == 1 << 20
    assert info.endpoints[0].max_outbox_bytes == 4 << 20
    counts = {n.namespace: (n.admitted, n.pending, n.closing) for n in info.namespaces}
    assert counts == {"default": (1, 1, 0), "raw": (0, 0, 0)}
    assert info.limits.max_connections > 0
