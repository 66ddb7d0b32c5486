"""Pools: who runs a service's handlers, and how much they have, over all its attachments."""

import threading
from typing import Dict, Optional

from socketbroker.outbox import Outbox
from socketbroker.v1 import attach_pb2
from socketbroker.workers import Workers


class Pools:
    """A service never has more than the most of a kind: what handlers still have of
    a stream that is lost is not given again to the next one, but as they end."""

    def __init__(self, most: Dict[str, int], changed: threading.Condition):
        """`most` of each kind, by the names of AttachCredit. `changed`: see Workers."""
        self.messages = Workers(most["messages"], "messages", changed)
        self.handshakes = Workers(most["handshakes"], "handshakes", changed)
        self.events = Workers(1, "events", changed)
        self._most = most
        self._mutex = threading.Lock()
        self._taken = dict.fromkeys(most, 0)
        self._outbox: Optional[Outbox] = None  # of the newest stream

    @property
    def idle(self) -> bool:
        return all(workers.idle for workers in (self.messages, self.handshakes, self.events))

    def begin(self, start: attach_pb2.AttachStart) -> Outbox:
        """The outbox of a new stream, with the credit that is left."""
        with self._mutex:
            credit = {kind: most - self._taken[kind] for kind, most in self._most.items()}
            self._outbox = Outbox(start, self._most, credit)
            return self._outbox

    def spend(self, kind: str, outbox: Outbox) -> None:
        """Something of this kind has come on the stream of `outbox`."""
        with self._mutex:
            self._taken[kind] += 1
        outbox.spend(kind)

    def free(self, kind: str, outbox: Outbox, request: Optional[attach_pb2.AttachRequest] = None) -> None:
        """It is done with. Its credit goes to the newest stream, behind the `request`
        if that is the one that it came on; else the request has nowhere to go."""
        with self._mutex:
            self._taken[kind] -= 1
            assert self._outbox is not None
            if request is not None and outbox is self._outbox:
                outbox.put(request, done=kind)
            else:
                self._outbox.free(kind)

    def stop(self) -> None:
        for workers in (self.messages, self.handshakes, self.events):
            workers.stop()
