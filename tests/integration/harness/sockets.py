"""Socket: a client WebSocket of python3-websockets for tests that are plain code."""

import asyncio
import json
import threading

import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatusCode

_TIMEOUT = 15.0


def _start_loop():
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


# Reads and answers for all sockets, while the tests wait for something else.
_LOOP = _start_loop()


def _run(coroutine, timeout=_TIMEOUT):
    async def bounded():
        return await asyncio.wait_for(coroutine, timeout)

    return asyncio.run_coroutine_threadsafe(bounded(), _LOOP).result()


class Refused(Exception):
    """The handshake was answered with another status than 101."""

    def __init__(self, status):
        super().__init__(f"HTTP {status}")
        self.status = status


class Socket:
    """Connects, or raises Refused. Answers pings and closes by itself."""

    def __init__(self, url, *, subprotocols=None, origin=None, **options):
        self.id = None
        options = {"max_size": None, "ping_interval": None, "close_timeout": 5, **options}

        # In a coroutine, so that it belongs to the loop that runs it.
        async def connect():
            return await websockets.connect(url, subprotocols=subprotocols, origin=origin, **options)

        try:
            self._socket = _run(connect())
        except InvalidStatusCode as error:
            raise Refused(error.status_code) from None

    @property
    def subprotocol(self):
        return self._socket.subprotocol

    def send(self, message):
        _run(self._socket.send(message))

    def receive(self, timeout=_TIMEOUT):
        """The next message: str or bytes."""
        return _run(self._socket.recv(), timeout)

    def receive_json(self):
        return json.loads(self.receive())

    def ping(self):
        async def round_trip():
            await (await self._socket.ping())

        _run(round_trip())

    def closed(self, timeout=_TIMEOUT):
        """Code and reason of the close, once it is closed; messages before it are
        dropped."""
        self.rest(timeout)
        return self._socket.close_code, self._socket.close_reason

    def rest(self, timeout=_TIMEOUT):
        """The messages until it is closed."""
        messages = []

        async def read():
            try:
                while True:
                    messages.append(await self._socket.recv())
            except ConnectionClosed:
                await self._socket.wait_closed()

        _run(read(), timeout)
        return messages

    def is_open(self):
        """Whether the broker still answers on it."""
        try:
            self.ping()
            return True
        except ConnectionClosed:
            return False

    def close(self, code=1000, reason=""):
        _run(self._socket.close(code, reason))

    def abort(self):
        _LOOP.call_soon_threadsafe(self._abort)

    def _abort(self):
        if self._socket.transport is not None:
            self._socket.transport.abort()
            # It may wait for ever for somebody to receive what it has read.
            self._socket.transfer_data_task.cancel()
