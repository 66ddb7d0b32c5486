#!/usr/bin/env python3
"""A chat: the page, its login and the service that its users talk to, in one process.

    client_stubs/examples/chat/run      then open http://127.0.0.1:8000/

The sockets are the broker's. This process never sees one: it says who each
belongs to, answers what they ask, and lets the broker send and close.
"""

import argparse
import collections
import hashlib
import http.server
import logging
import os
import pathlib
import re
import secrets
import signal
import subprocess
import sys
import threading
from http.cookies import SimpleCookie

try:
    import socketbroker
    from socketbroker.v1 import connection_pb2, conversation_pb2, message_pb2
    from socketbroker.v1 import socket_broker_pb2 as pb
except ImportError:
    sys.exit("The Python client is not installed here: start the chat with client_stubs/examples/chat/run")

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent.parent
FILES = {
    "/": ("text/html; charset=utf-8", HERE / "index.html"),
    "/socketbroker.js": ("text/javascript", REPOSITORY / "client_stubs/browser/socketbroker.js"),
}


class Sessions:
    """Who is logged in. A real one is a table in a database."""

    def __init__(self):
        self._accounts = {}
        self._mutex = threading.Lock()

    def begin(self, account):
        cookie = secrets.token_urlsafe()
        with self._mutex:
            self._accounts[self.hash(cookie)] = account
        return cookie

    def end(self, cookie):
        with self._mutex:
            self._accounts.pop(self.hash(cookie), None)

    def identity(self, cookie):
        """Who the sockets of a session belong to; KeyError when there is none."""
        token_hash = self.hash(cookie)
        with self._mutex:
            return connection_pb2.Identity(account_id=self._accounts[token_hash], token_hash=token_hash)

    @staticmethod
    def hash(cookie):
        # The broker knows sessions by a hash, never what proves them.
        return hashlib.sha256(cookie.encode()).hexdigest()


class Chat:
    """What clients may ask. A room is a group of connections, which is all there is of it."""

    def __init__(self, client):
        self._client = client

    def serve(self):
        """The service that offers it."""
        service = socketbroker.Service(self._client)
        service.on("join", self.join)
        service.on("leave", self.leave)
        service.on("say", self.say)
        service.on("who", self.who)
        service.on_closed(self.closed)
        return service

    def join(self, params, context):
        room = params.get("room") if isinstance(params, dict) else None
        # Strict, since it becomes a part of a filter.
        if not isinstance(room, str) or not re.fullmatch("[a-z0-9-]{1,32}", room):
            raise socketbroker.JsonRpcError(-32602, "a room has 1 to 32 letters a-z, digits and hyphens")
        self._move(context, {room})

    def leave(self, _, context):
        self._move(context, set())

    def say(self, params, context):
        text = params.get("text") if isinstance(params, dict) else None
        if not isinstance(text, str) or not 0 < len(text) <= 1000:
            raise socketbroker.JsonRpcError(-32602, "a text has 1 to 1000 characters")
        self._tell(self._room(context), "said", account=context.identity.account_id, text=text)

    def who(self, _, context):
        """Asks every page in the room whether its user is typing."""
        here = f'groups:"{self._room(context)}"'
        connections = self._client.list_connections(pb.ListConnectionsRequest(filter=here, page_size=1000)).connections
        # By the connection, which cannot lie about who it is, unlike its answer.
        accounts = {connection.connection_id: connection.identity.account_id for connection in connections}
        people = collections.defaultdict(bool)
        question = conversation_pb2.RequestFilteredRequest(filter=here, method="typing", want_json=True)
        question.timeout.FromSeconds(2)
        with self._client.request_filtered(question) as replies:
            for each in replies:
                if each.HasField("reply") and each.connection_id in accounts:
                    people[accounts[each.connection_id]] |= each.reply.result_json == b"true"
        return [{"account": account, "typing": typing} for account, typing in sorted(people.items())]

    def closed(self, event):
        """However a socket ended: the broker knows which rooms it was in."""
        for room in event.connection.identity.groups:
            self._tell(room, "left", account=event.connection.identity.account_id)

    def _room(self, context):
        """Where a client was when it sent its message: nobody speaks to a room from outside."""
        if not context.identity.groups:
            raise socketbroker.JsonRpcError(1, "join a room first")
        return context.identity.groups[0]

    def _move(self, context, rooms):
        before = set(context.identity.groups)
        request = pb.UpdateConnectionRequest(connection_id=context.connection_id)
        request.identity.groups.extend(rooms)
        request.update_mask.paths.append("groups")
        self._client.update_connection(request)
        for room in before - rooms:
            self._tell(room, "left", account=context.identity.account_id)
        for room in rooms - before:
            self._tell(room, "joined", account=context.identity.account_id)

    def _tell(self, room, method, **params):
        message = message_pb2.Message()
        message.notification.method = method
        message.notification.params_struct.update(params)
        self._client.broadcast_filtered(pb.BroadcastFilteredRequest(filter=f'groups:"{room}"', message=message))


def make_site(port, client, sessions, websocket_url):
    """The HTTP side: the page, and a login with a cookie as any web site has one."""

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/url":
                return self._answer(200, websocket_url.encode())
            kind, file = FILES.get(self.path, (None, None))
            if file is None:
                return self._answer(404)
            self._answer(200, file.read_bytes(), {"Content-Type": kind})

        def do_POST(self):
            action = {"/login": self._login, "/ticket": self._ticket, "/logout": self._logout}.get(self.path)
            try:
                return action() if action else self._answer(404)
            except socketbroker.BrokerError as error:
                self._answer(503, str(error).encode())

        def _login(self):
            size = self.headers.get("Content-Length", "")
            name = self.rfile.read(min(int(size), 1000)).decode(errors="replace") if size.isdecimal() else ""
            # A real login asks for more than a name.
            if not re.fullmatch(r"\w{1,32}", name):
                return self._answer(400, b"a name has 1 to 32 letters")
            cookie = sessions.begin(name)
            self._answer(200, headers={"Set-Cookie": f"chat={cookie}; HttpOnly; SameSite=Strict; Path=/"})

        def _ticket(self):
            """Swaps the cookie for a ticket: a secret that opens one socket, once, within 30 s."""
            try:
                # Looked up by the client, which knows when to look again: so a logout
                # that comes at the same time wins.
                ticket = client.create_ticket_verified(
                    pb.CreateTicketRequest(), lambda: sessions.identity(self._cookie())).ticket
            except KeyError:
                return self._answer(401)
            self._answer(200, ticket.encode())

        def _logout(self):
            cookie = self._cookie()
            # First the session, then its sockets: none can come back.
            sessions.end(cookie)
            client.close_sockets_for_session(pb.CloseSocketsForSessionRequest(token_hash=sessions.hash(cookie)))
            self._answer(200)

        def _cookie(self):
            morsel = SimpleCookie(self.headers.get("Cookie", "")).get("chat")
            return morsel.value if morsel else ""

        def _answer(self, status, body=b"", headers=None):
            self.send_response(status)
            for name, value in {"Cache-Control": "no-store", "Content-Length": len(body), **(headers or {})}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return http.server.ThreadingHTTPServer(("127.0.0.1", port), Site)


def start_broker(client, arguments):
    """Starts a broker when none answers and one is built; returns its process, or None."""
    try:
        client.get_broker_info(pb.GetBrokerInfoRequest(), timeout=1)
        return None
    except socketbroker.BrokerError:
        pass
    binary = os.environ.get("BROKER_BINARY", str(REPOSITORY / "build/release/bin/socket-broker"))
    if not os.access(binary, os.X_OK):
        print(f"no broker answers, and {binary} is not there: start one with tools/run. Waiting for it.", flush=True)
        return None
    print(f"no broker answers: starting {binary}", flush=True)
    return subprocess.Popen([binary, "--websocket-port", str(arguments.websocket_port),
                             "--control-port", str(arguments.control_port), "--admin-port", "0"])


def main():
    parser = argparse.ArgumentParser(description="A chat. Everything is on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8000, help="of the page; 0: any")
    parser.add_argument("--control-port", type=int, default=50051, help="of the broker's gRPC")
    parser.add_argument("--websocket-port", type=int, default=8080, help="of the broker's sockets")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    client = socketbroker.Client(f"127.0.0.1:{arguments.control_port}")
    site = make_site(arguments.port, client, Sessions(), f"ws://127.0.0.1:{arguments.websocket_port}/ws")
    broker = start_broker(client, arguments)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    print(f"the chat is at http://127.0.0.1:{site.server_address[1]}/", flush=True)

    service = Chat(client).serve()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: service.drain(5))
    try:
        service.run()
    finally:
        if broker is not None:
            broker.terminate()
            broker.wait()


if __name__ == "__main__":
    main()
