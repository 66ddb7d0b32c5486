"""Broker: one socket-broker process that a test has for itself."""

import itertools
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

from harness import raw, tls
from harness.checks import fails
from harness.output import Output
from harness.sockets import Socket
from socketbroker import BrokerError, Client
from socketbroker.v1 import connection_pb2, conversation_pb2
from socketbroker.v1 import socket_broker_pb2 as pb

BINARY = os.environ.get("BROKER_BINARY", "build/release/bin/socket-broker")
# Seconds that anything may take which is expected to happen.
PATIENCE = 15.0


def wait_until(condition, what, timeout=PATIENCE):
    """Returns what `condition()` returns, once that is true.

    For what tells nobody that it changes, such as metrics and /proc: it is asked as soon as it has answered. For
    all else there are Broker.wait_connections and wait_log.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        os.sched_yield()
    return value


def identity(account=None, *, session=None, token=None, labels=None, groups=(), expires_at=None):
    result = connection_pb2.Identity(labels=labels or {}, groups=groups)
    for field, value in (("account_id", account), ("token_hash", session), ("api_token_id", token)):
        if value is not None:
            setattr(result, field, value)
    if expires_at is not None:
        result.expires_at.FromMicroseconds(int(expires_at * 1e6))
    return result


class Broker:
    """Starts the broker, on ports of its own unless told which, and waits until it says it is up."""

    def __init__(self, folder, *arguments, config=None, ready=True, use_tls=tls.EVERYWHERE, api_key=None,
                 credentials=None, under=()):
        self._folder = pathlib.Path(folder)
        self._numbers = itertools.count(1)
        self._sockets = []
        self._client = None
        self._clients = []
        self.killed = False
        self._api_key, self._credentials = api_key, credentials  # of its own client
        self.config_file = self._folder / "broker.yaml"
        # `under`: a command that runs another one in its place.
        command = [*under, BINARY]
        if config is not None:
            self.write_config(config)
            command += ["--config", str(self.config_file)]
        self.tls = None  # an SSLContext of its clients
        if use_tls:
            self.certificate, self.key = tls.make_certificate(self._folder)
            command += tls.settings(self.certificate, self.key)
            self.tls = tls.trusting(self.certificate)
        for port in ("--websocket-port", "--control-port", "--admin-port"):
            if port not in arguments:
                command += [port, "0"]
        command += arguments
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._log = Output(self.process.stderr)
        if ready:
            self.started = self.wait_for_log("started")
            self.websocket = self.started["websocket_address"]
            self.control = self.started["control_address"]
            self.admin = self.started["admin_address"]

    def write_config(self, config):
        # JSON is YAML.
        self.config_file.write_text(json.dumps(config))

    def log(self):
        """Everything that it logged so far."""
        return self._log.text()

    def events(self, name):
        """The log lines of one event, parsed."""
        result = []
        for line in self.log().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("event") == name:
                result.append(entry)
        return result

    def wait_for_log(self, name, count=1, timeout=PATIENCE):
        """The newest log line of an event, once there are `count` of them."""
        return self.wait_log(lambda: len(self.events(name)) >= count and self.events(name)[-1], repr(name), timeout)

    def wait_log(self, condition, what, timeout=PATIENCE):
        """Returns what `condition()` returns, once that is true: asked at each line of the log."""
        return self._log.wait(condition, what, timeout)

    def wait_connections(self, condition, what, namespace=None):
        """Returns what `condition()` returns, once that is true: asked at each change of a connection."""
        request = pb.WatchConnectionsRequest(namespace=namespace)
        with self.client.watch_connections(request, timeout=PATIENCE) as changes:
            known = False
            try:
                for change in changes:
                    known = known or change.HasField("snapshot_end")
                    if known and (value := condition()):
                        return value
            except BrokerError as error:
                raise AssertionError(f"waited for {what}") from error
        raise AssertionError(f"the watch ended before {what}")

    def pass_time(self, seconds):
        """Of the broker's own clock: so long it waits for a reply that does not come."""
        silent = self.join("silent")
        request = conversation_pb2.RequestConnectionRequest(connection_id=silent.id, method="m")
        request.timeout.FromMilliseconds(int(seconds * 1000))
        with fails("DEADLINE_EXCEEDED"):
            self.client.request_connection(request, timeout=PATIENCE)
        silent.close()

    @property
    def client(self):
        if self._client is None:
            self._client = self.client_with(self._api_key, self._credentials)
        return self._client

    def client_with(self, api_key=None, credentials=None, target=None):
        """A client that proves itself so."""
        client = Client(target or self.control, api_key=api_key, credentials=credentials)
        self._clients.append(client)
        return client

    @property
    def websocket_port(self):
        return int(self.websocket.rpartition(":")[2])

    @property
    def epoch(self):
        return self.client.get_broker_info(pb.GetBrokerInfoRequest()).epoch

    def ticket(self, *args, epoch=None, namespace=None, ttl=None, allowed_origins=(), **kwargs):
        """The secret of a new ticket for `identity(*args, **kwargs)`."""
        request = pb.CreateTicketRequest(
            identity=identity(*args, **kwargs),
            verified_at_epoch=self.epoch if epoch is None else epoch,
            allowed_origins=allowed_origins,
        )
        if namespace is not None:
            request.namespace = namespace
        if ttl is not None:
            request.ttl.FromMilliseconds(int(ttl * 1000))
        return self.client.create_ticket(request).ticket

    def connect(self, ticket=None, *, by="subprotocol", path="/ws", query="", origin=None, **options):
        """A WebSocket on the wire: pending, unless a ticket admits it."""
        parts = [query] if query else []
        subprotocols = None
        if ticket is not None and by == "query":
            parts.append(f"ticket={ticket}")
        elif ticket is not None:
            subprotocols = ["socketbroker.v1", f"ticket.{ticket}"]
        scheme = "ws" if self.tls is None else "wss"
        url = f"{scheme}://{self.websocket}{path}" + ("?" + "&".join(parts) if parts else "")
        options.setdefault("ssl", self.tls)
        socket = Socket(url, subprotocols=subprotocols, origin=origin, **options)
        self._sockets.append(socket)
        return socket

    def join(self, *args, namespace=None, path="/ws", **kwargs):
        """An admitted WebSocket of `identity(*args, **kwargs)`, which knows its id."""
        number = f"n={next(self._numbers)}"
        ticket = self.ticket(*args, namespace=namespace, **kwargs)
        socket = self.connect(ticket, path=path, query=number)
        socket.id = self.find(number, namespace).connection_id
        return socket

    def pend(self, path="/ws", namespace=None, **options):
        """A pending WebSocket, which knows its id."""
        number = f"n={next(self._numbers)}"
        socket = self.connect(path=path, query=number, **options)
        socket.id = self.find(number, namespace).connection_id
        return socket

    def find(self, query, namespace=None):
        found = [c for c in self.list(namespace=namespace) if c.query == query]
        assert len(found) == 1, f"{len(found)} connections with query {query}"
        return found[0]

    def list(self, **fields):
        """Every connection that ListConnections gives for these request fields."""
        request = pb.ListConnectionsRequest(page_size=1000, **fields)
        result = []
        while True:
            response = self.client.list_connections(request)
            result += response.connections
            request.page_token = response.next_page_token
            if not request.page_token:
                return result

    def count(self, filter=None, namespace=None):
        request = pb.CountConnectionsRequest(filter=filter, namespace=namespace)
        return self.client.count_connections(request).count

    def get(self, socket):
        request = pb.GetConnectionRequest(connection_id=socket.id)
        return self.client.get_connection(request).connection

    def dial(self):
        """A socket connected to the listener for clients, TLS done."""
        return raw.dial(self.websocket_port, tls=self.tls)

    def exchange(self, data):
        """Sends bytes on a socket of their own and reads one HTTP response."""
        return raw.exchange(self.websocket_port, data, tls=self.tls)

    def raw_socket(self, ticket=None, headers=None, **options):
        """A WebSocket that does nothing by itself: see raw.RawSocket."""
        headers = dict(headers or {})
        if ticket is not None:
            headers["Sec-WebSocket-Protocol"] = f"socketbroker.v1, ticket.{ticket}"
        socket = raw.RawSocket(self.websocket_port, headers=headers, tls=self.tls, **options)
        self._sockets.append(socket)
        return socket

    def http(self, path):
        """GET of the admin listener: status and text."""
        try:
            with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=PATIENCE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name, **labels):
        """One value of /metrics; 0 when there is none yet."""
        _, text = self.http("/metrics")
        wanted = "socketbroker_" + name
        if labels:
            wanted += "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"
        for line in text.splitlines():
            found, _, value = line.rpartition(" ")
            if found == wanted:
                return float(value)
        return 0

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def resident_memory(self):
        """In bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """Ends it as a crash does."""
        self.killed = True
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, timeout=PATIENCE):
        """The exit code, once it has ended."""
        code = self.process.wait(timeout)
        self._log.join(timeout)
        return code

    def stop(self):
        """Ends it as an operator would, and returns the exit code."""
        for socket in self._sockets:
            socket.abort()
        for client in self._clients:
            client.close()
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
