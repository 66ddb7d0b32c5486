"""Whether the time of a 401 tells what was wrong with a ticket."""

import contextlib
import random
import secrets
import selectors
import socket
import time

from suite.measure import median
from suite.processes import PATIENCE, expect
from suite.scenario import Row, Scenario, count_of
from suite.steps import CHUNK, check_calls, chunks

# What each kind is compared with.
BASE = "unknown"
KINDS = ("used", "expired", "revoked")
SEED = 1
AT_ONCE = 100
HEAD = (b"GET /raw HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Protocol: socketbroker.v1, ticket.%s\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")


class BadTickets(Scenario):
    """Tickets that are no good for one reason or another, presented in random order."""

    name = "tickets"
    once = True

    def make_rows(self):
        each = f"401 for a bad ticket, {count_of(self.profile.bad_tickets)} of each kind"
        rows = [Row("tickets/base", each, "time until answered, p50", "ms")]
        for kind in KINDS:
            # Beyond 3.3 chance would go once in a thousand times.
            rows.append(Row(f"tickets/{kind}", f"the same, {kind} instead of {BASE}",
                            "difference, in standard errors of its rank sum", "z", goal=3.3, judged_by="value"))
        return rows

    def broker(self, stage):
        server = stage.daemon(limits={"max_ticket_misses_per_minute": 0})
        call = stage.call(server)
        times = {kind: [] for kind in (BASE, *KINDS)}
        order = random.Random(SEED)
        for first, size in chunks(self.profile.bad_tickets, CHUNK):
            tickets = self.make(stage, server, call, first, size)
            attempts = [(kind, ticket) for kind in times for ticket in tickets[kind]]
            order.shuffle(attempts)
            for first_of in range(0, len(attempts), AT_ONCE):
                group = attempts[first_of:first_of + AT_ONCE]
                for (kind, _), took in zip(group, present(server.port, [t for _, t in group], "401")):
                    times[kind].append(took)
        return {"tickets/base": median(times[BASE]) / 1e6,
                **{f"tickets/{kind}": abs(rank_sum_z(times[BASE], times[kind])) for kind in KINDS}}

    def make(self, stage, server, call, first, size):
        """So many of each kind. Accounts are revoked that no other ticket is of."""
        def minted(offset, options=""):
            file = stage.ticket_file()
            check_calls(call.ask(f"mint count={size} from={first + offset * self.profile.bad_tickets} flight=32 "
                                 f"namespace=raw {options} file={file}"), size)
            return file.read_text().split()

        expired, ready = minted(0, "ttl=1"), time.monotonic() + 1.1
        used = minted(1)
        for start in range(0, size, AT_ONCE):
            present(server.port, used[start:start + AT_ONCE], "101")
        revoked = minted(2)
        check_calls(call.ask(f"revoke count={size} flight=32 from={first + 2 * self.profile.bad_tickets} "
                             "namespace=raw"), size)
        time.sleep(max(0, ready - time.monotonic()))
        return {BASE: [secrets.token_urlsafe(32) for _ in range(size)],
                "used": used, "expired": expired, "revoked": revoked}


def present(port, tickets, status):
    """Of each ticket, the nanoseconds from its handshake to the answer. All wait together: a 401 is held back."""
    waiting = {}
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for number, ticket in enumerate(tickets):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            selector.register(connection, selectors.EVENT_READ, number)
            waiting[number] = time.perf_counter_ns()
            connection.sendall(HEAD % ticket.encode())
        took = [0] * len(tickets)
        while waiting:
            ready = selector.select(PATIENCE)
            now = time.perf_counter_ns()
            expect(ready, "no answer to a handshake")
            for key, _ in ready:
                answer = key.fileobj.recv(4096)
                expect(answer.startswith(b"HTTP/1.1 " + status.encode()), f"not {status}: {answer[:60]!r}")
                took[key.data] = now - waiting.pop(key.data)
                selector.unregister(key.fileobj)
    return took


def rank_sum_z(first, second):
    """Of the Mann-Whitney test: how many standard errors the second's ranks are off, by the normal approximation."""
    order = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    ranks = [0.0, 0.0]
    position = 0
    while position < len(order):
        end = position
        while end < len(order) and order[end][0] == order[position][0]:
            end += 1
        for _, group in order[position:end]:
            ranks[group] += (position + 1 + end) / 2
        position = end
    n, m = len(first), len(second)
    expect(n > 0 and m > 0, "nothing was measured")
    u = ranks[1] - m * (m + 1) / 2
    return (u - n * m / 2) / (n * m * (n + m + 1) / 12) ** 0.5
