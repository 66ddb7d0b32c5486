"""Whether the time of a 401 tells what was wrong with a ticket."""

import random
import secrets
import socket
import time

from suite.measure import median
from suite.processes import PATIENCE, Failure, expect
from suite.scenario import Row, Scenario, count_of
from suite.steps import CHUNK, check_calls, chunks

# What each kind is compared with.
BASE = "unknown"
KINDS = ("missing", "used", "expired", "revoked")
SEED = 1


class BadTickets(Scenario):
    """Tickets that are no good for one reason or another, presented in random order, each on a connection of its own."""

    name = "tickets"
    once = True

    def make_rows(self):
        each = f"401 for a bad ticket, {count_of(self.profile.bad_tickets)} of each kind"
        rows = [Row("tickets/base", each, "time until answered, p50", "us")]
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
            for kind, ticket in attempts:
                times[kind].append(present(server.port, ticket, "401"))
        return {"tickets/base": median(times[BASE]) / 1e3,
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
        for ticket in used:
            present(server.port, ticket, "101")
        revoked = minted(2)
        check_calls(call.ask(f"revoke count={size} flight=32 from={first + 2 * self.profile.bad_tickets} "
                             "namespace=raw"), size)
        time.sleep(max(0, ready - time.monotonic()))
        return {BASE: [secrets.token_urlsafe(32) for _ in range(size)], "missing": [None] * size,
                "used": used, "expired": expired, "revoked": revoked}


def present(port, ticket, status):
    """Nanoseconds from the last byte of a handshake to the first of its answer."""
    protocol = f"Sec-WebSocket-Protocol: socketbroker.v1, ticket.{ticket}\r\n" if ticket else ""
    request = (f"GET /raw HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{protocol}"
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n").encode()
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        began = time.perf_counter_ns()
        connection.sendall(request)
        answer = connection.recv(4096)
        took = time.perf_counter_ns() - began
    if not answer.startswith(f"HTTP/1.1 {status} ".encode()):
        raise Failure(f"a ticket was not answered with {status} but with {answer[:60]!r}")
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
