"""Outbox: what an attached service says next, its credit put in where it is due."""

import collections
import threading
from typing import Deque, Dict, Optional, Tuple

from socketbroker.v1 import attach_pb2

# Who sends more than the stream takes waits: so many messages, or bytes.
_MAX_SENDS = 1000
_MAX_BYTES = 16 * 1024 * 1024


class _Credit:
    """What is left of one kind of credit, and what is to be given back."""

    def __init__(self, most: int, left: int):
        self.most = most
        self.left = left
        self.freed = 0

    def due(self, idle: bool) -> bool:
        """Not before half of it is used up: so it is given in few portions. Then
        once that makes half again or, when nothing else is to be said, whatever
        there is: what is busy for long must not keep back what is not."""
        half = self.most // 2
        return self.freed > 0 and self.left <= half and (idle or self.freed >= half)

    def give_back(self) -> int:
        freed, self.freed = self.freed, 0
        self.left += freed
        return freed


class Outbox:
    """The requests of one Attach stream, in order. Any thread may use it."""

    def __init__(self, start: attach_pb2.AttachStart, most: Dict[str, int], credit: Dict[str, int]):
        """`most` of each kind, by the names of AttachCredit, and the `credit` that it starts with."""
        self._credit = {kind: _Credit(most[kind], credit[kind]) for kind in most}
        first = attach_pb2.AttachRequest(start=start)
        first.start.credit.CopyFrom(attach_pb2.AttachCredit(**credit))
        # With what is done once it is taken.
        self._requests: Deque[Tuple[attach_pb2.AttachRequest, str]] = collections.deque([(first, "")])
        self._bytes = 0  # of them all
        self._closed = False
        lock = threading.RLock()  # since a signal may come at any place of the same thread
        self._news = threading.Condition(lock)
        self._room = threading.Condition(lock)

    def put(self, item: Optional[attach_pb2.AttachRequest], done: str = "") -> None:
        """None: the stream is over, and what comes is dropped. `done`: frees credit of
        this kind, behind the request."""
        with self._news:
            if item is None:
                self._closed = True
                self._requests.clear()
                self._bytes = 0
                self._room.notify_all()
            elif not self._closed:
                self._requests.append((item, done))
                self._bytes += item.ByteSize()
            self._news.notify()

    def put_send(self, request: attach_pb2.AttachRequest) -> None:
        """`put`, once there is room."""
        with self._room:
            while (len(self._requests) >= _MAX_SENDS or self._bytes >= _MAX_BYTES) and not self._closed:
                self._room.wait()
            self.put(request)

    def spend(self, kind: str) -> None:
        """The broker has told something of this kind."""
        self._change(kind, left=-1)

    def free(self, kind: str) -> None:
        """It is done, and nothing is to be said of it."""
        self._change(kind, freed=1)

    def _change(self, kind: str, left: int = 0, freed: int = 0) -> None:
        with self._news:
            credit = self._credit[kind]
            credit.left += left
            credit.freed += freed
            if credit.due(idle=not self._requests):
                self._news.notify()

    def get(self) -> Optional[attach_pb2.AttachRequest]:
        """Waits for the next request; None when the stream is over."""
        with self._news:
            while not self._closed:
                idle = not self._requests
                due = {kind: c.give_back() for kind, c in self._credit.items() if c.due(idle)}
                if due:
                    return attach_pb2.AttachRequest(credit=attach_pb2.AttachCredit(**due))
                if not idle:
                    request, done = self._requests.popleft()
                    self._bytes -= request.ByteSize()
                    self._room.notify()
                    if done:
                        self._credit[done].freed += 1
                    return request
                self._news.wait()
            return None
