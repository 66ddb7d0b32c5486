"""The browser client in a browser, and services: they are asked, and they ask."""

import concurrent.futures
import json

import pytest

from harness.checks import fails, notification
from harness.revoke import close_session
from socketbroker.v1 import attach_pb2, conversation_pb2

Cancelled = conversation_pb2.RequestCancelled


@pytest.fixture
def client(client, broker):
    client.open(broker.websocket)
    client.event("open")
    return client


@pytest.fixture
def service(attach, broker):
    """Takes every method."""
    return attach(broker, messages=attach_pb2.AttachMessages(methods=["*"]))


@pytest.fixture
def ask(client, broker):
    """Asks the client in the background: a future of its reply."""
    (connection,) = broker.list()
    with concurrent.futures.ThreadPoolExecutor() as threads:

        def ask(method, timeout=None, **fields):
            request = conversation_pb2.RequestConnectionRequest(
                connection_id=connection.connection_id, method=method, want_json=True, **fields)
            if timeout is not None:
                request.timeout.FromMilliseconds(int(timeout * 1000))
            return threads.submit(lambda: broker.client.request_connection(request).reply)

        yield ask


def test_a_request_and_its_reply(client, service):
    client.run("connection.on('progress', (params) => report({event: 'progress', params}))")
    run = client.start("""
        const reply = await connection.request('orders.create', {n: 1});
        report({event: 'reply'});
        return reply;
    """)
    asked = service.message()
    assert (asked.request.method, json.loads(asked.request.params_json)) == ("orders.create", {"n": 1})
    assert asked.identity.account_id == "a1"
    service.stream.send(asked.connection_id, notification("progress", done=1))
    service.reply(asked, '{"made": ["caf\u00e9"]}')
    assert client.event("progress")["params"] == {"done": 1}
    client.event("reply")
    assert run.value() == {"made": ["caf\u00e9"]}


def test_an_error_of_the_service(client, service):
    run = client.start("return connection.request('m')")
    service.stream.reply(conversation_pb2.Reply(
        message_id=service.message().message_id, error_json=b'{"code":7,"message":"no","data":[1]}'))
    assert run.error() == {"name": "JsonRpcError", "message": "no", "code": 7, "data": [1]}


def test_a_notification(client, service):
    client.run("connection.notify('seen', [7])")
    told = service.message("notification")
    assert (told.notification.method, told.notification.params_json) == ("seen", b"[7]")


def cancelled(service, asked):
    told = service.next("request_cancelled")
    assert (told.message_id, told.cause) == (asked.message_id, Cancelled.CAUSE_CLIENT)


def test_an_aborted_request_is_cancelled(client, service):
    run = client.start("""
        const controller = new AbortController();
        connection.on('enough', () => controller.abort());
        return connection.request('slow', undefined, {signal: controller.signal});
    """)
    asked = service.message()
    service.stream.send(asked.connection_id, notification("enough"))
    cancelled(service, asked)
    assert run.error()["name"] == "AbortError"
    # The error that the broker answers it with is nobody's any more.
    run = client.start("return connection.request('next')")
    service.reply(service.message(), "1")
    assert run.value() == 1 and client.quiet()


def test_a_request_that_takes_too_long_is_cancelled(client, service):
    run = client.start("return connection.request('slow', undefined, {timeout: 100})")
    cancelled(service, service.message())
    error = run.error()
    assert (error["name"], error["code"], error["sent"]) == ("ConnectionError", "timeout", True)


def test_what_is_open_at_a_revocation_fails(client, service, broker):
    run = client.start("return connection.request('m')")
    service.message()
    close_session(broker, "s1")
    error = run.error()
    assert (error["name"], error["code"], error["sent"]) == ("ConnectionError", "unauthenticated", True)


def test_what_is_open_when_the_connection_is_lost_fails(client, service, broker):
    run = client.start("return connection.request('m')")
    service.message()
    broker.kill()
    error = run.error()
    assert (error["name"], error["code"], error["sent"]) == ("ConnectionError", "disconnected", True)


def test_the_client_is_asked(client, ask):
    client.run("""
        connection.on('add', ([a, b]) => a + b);
        connection.on('later', async () => ({at: 'last'}));
        connection.on('nothing', () => {});
        connection.on('refuse', () => { throw new JsonRpcError(-5, 'no', {why: 1}); });
        connection.on('fault', () => { throw new Error('a secret'); });
    """)
    assert ask("add", params_json=b"[1, 2]").result().result_json == b"3"
    assert ask("later").result().result_json == b'{"at":"last"}'
    assert ask("nothing").result().result_json == b"null"

    def error(method):
        return json.loads(ask(method).result().error_json)

    assert error("refuse") == {"code": -5, "message": "no", "data": {"why": 1}}
    assert error("unknown") == {"code": -32601, "message": "Method not found"}
    assert error("fault") == {"code": -32603, "message": "Internal error"}
    assert client.event("error")["error"]["message"] == "a secret"


def test_the_client_is_told_that_nobody_waits_any_more(client, ask, broker):
    client.run("""
        connection.on('work', (params, {signal}) => new Promise((resolve) => {
          signal.addEventListener('abort', () => { report({event: 'aborted'}); resolve('too late'); });
        }));
    """)
    future = ask("work", timeout=1)
    client.event("aborted")
    with fails("DEADLINE_EXCEEDED"):
        future.result()
    # It says nothing more about it.
    client.run("connection.on('next', () => 1)")
    assert ask("next").result().result_json == b"1"
    assert broker.metric("client_replies_unmatched_total") == 0
    assert broker.metric("messages_total", direction="in") == 1
